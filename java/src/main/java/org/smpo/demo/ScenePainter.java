package org.smpo.demo;

import java.util.ArrayList;
import java.util.List;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Paints scenes: 64x64 pixels, a light grey background, flat objects with smooth edges. Positions, sizes
/// and shades are random; objects touch neither each other nor the border.
///
/// An image is a pure function of the scene and the random stream. Only additions, products, square roots
/// and comparisons of doubles are used, which Java defines exactly, so that pixels are equal on every
/// machine.
public final class ScenePainter {
    /// Width and height of the images in pixels.
    public static final int SIDE = 64;

    private static final int CHANNELS = 3;
    private static final int MARGIN = 2;
    /// Least gap between the bounding circles of objects; three pixels of background survive a blur of
    /// three.
    private static final double GAP = 2;
    /// Largest offset of objects across the axis of their relation, as a fraction of their distance along
    /// it.
    private static final double MAX_SLANT = 0.5;

    private static final int TRIES = 100;
    private static final double SHADE = 14;

    private ScenePainter() {}

    /// Returns the image of one (seed, version, item).
    ///
    /// @param version number that distinguishes several images of an item, in `[0, 2^32)`
    /// @param item number of the item, in `[0, 2^56)`
    public static RgbImage paint(Scene scene, Philox philox, long version, long item) {
        return paint(scene, philox.stream(Purpose.DEMO_IMAGES, version, item));
    }

    /// Returns an image with positions, sizes and shades from a random stream.
    static RgbImage paint(Scene scene, PhiloxStream random) {
        double[] canvas = ground(random);
        switch (scene) {
            case Scene.One one -> {
                double radius = one.size() == Size.SMALL ? between(random, 7, 9) : between(random, 17, 21);
                double[] colour = shade(one.thing().colour(), random);
                for (double[] centre : scattered(1, radius, random)) {
                    fill(canvas, one.thing().shape(), centre, radius, colour);
                }
            }
            case Scene.Several several -> {
                double radius = between(random, 7.5, 9);
                double[] colour = shade(several.thing().colour(), random);
                for (double[] centre : scattered(several.count(), radius, random)) {
                    fill(canvas, several.thing().shape(), centre, radius, colour);
                }
            }
            case Scene.Two two -> {
                double first = between(random, 7.5, 10);
                double second = between(random, 7.5, 10);
                double[] firstColour = shade(two.first().colour(), random);
                double[] secondColour = shade(two.second().colour(), random);
                double[][] centres = related(two.relation(), first, second, random);
                fill(canvas, two.first().shape(), centres[0], first, firstColour);
                fill(canvas, two.second().shape(), centres[1], second, secondColour);
            }
        }
        byte[] rgb = new byte[canvas.length];
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (int) (Math.clamp(canvas[i], 0.0, 255.0) + 0.5);
        }
        return RgbImage.of(SIDE, SIDE, rgb);
    }

    private static double[] ground(PhiloxStream random) {
        double light = between(random, 228, 244);
        double[] canvas = new double[SIDE * SIDE * CHANNELS];
        for (int channel = 0; channel < CHANNELS; channel++) {
            double level = light + between(random, -3, 3);
            for (int i = channel; i < canvas.length; i += CHANNELS) {
                canvas[i] = level;
            }
        }
        return canvas;
    }

    private static double[] shade(Colour colour, PhiloxStream random) {
        double[] rgb = new double[CHANNELS];
        for (int channel = 0; channel < CHANNELS; channel++) {
            rgb[channel] = colour.channel(channel) + between(random, -SHADE, SHADE);
        }
        return rgb;
    }

    /// Returns centres (x, y), from the left and the top, of objects with gaps between them.
    private static List<double[]> scattered(int count, double radius, PhiloxStream random) {
        double room = 2 * Shape.REACH * radius + GAP;
        while (true) {
            List<double[]> centres = new ArrayList<>(count);
            for (int tries = 0; tries < TRIES && centres.size() < count; tries++) {
                double[] centre = {place(radius, random), place(radius, random)};
                if (centres.stream().allMatch(other -> apart(centre, other) >= room)) {
                    centres.add(centre);
                }
            }
            if (centres.size() == count) {
                return centres;
            }
        }
    }

    private static double[][] related(Relation relation, double first, double second, PhiloxStream random) {
        double room = Shape.REACH * (first + second) + GAP;
        while (true) {
            double[] a = {place(first, random), place(first, random)};
            double[] b = {place(second, random), place(second, random)};
            double dx = a[0] - b[0];
            double dy = a[1] - b[1];
            double along = Math.abs(relation.horizontal() ? dx : dy);
            double across = Math.abs(relation.horizontal() ? dy : dx);
            if (Relation.of(dx, dy) == relation && along >= room && across <= MAX_SLANT * along) {
                return new double[][] {a, b};
            }
        }
    }

    private static double apart(double[] a, double[] b) {
        double dx = a[0] - b[0];
        double dy = a[1] - b[1];
        return Math.sqrt(dx * dx + dy * dy);
    }

    private static double place(double radius, PhiloxStream random) {
        double reach = Math.min(Shape.REACH * radius + MARGIN, SIDE / 2.0);
        return between(random, reach, SIDE - reach);
    }

    private static void fill(double[] canvas, Shape shape, double[] centre, double radius, double[] colour) {
        int reach = (int) (Shape.REACH * radius) + 2;
        for (int y = Math.max(0, (int) centre[1] - reach); y < Math.min(SIDE, (int) centre[1] + reach); y++) {
            for (int x = Math.max(0, (int) centre[0] - reach); x < Math.min(SIDE, (int) centre[0] + reach); x++) {
                double coverage = shape.coverage(x + 0.5 - centre[0], y + 0.5 - centre[1], radius);
                if (coverage > 0) {
                    int at = CHANNELS * (y * SIDE + x);
                    for (int channel = 0; channel < CHANNELS; channel++) {
                        canvas[at + channel] += coverage * (colour[channel] - canvas[at + channel]);
                    }
                }
            }
        }
    }

    private static double between(PhiloxStream random, double low, double high) {
        return low + (high - low) * random.nextDouble();
    }
}
