package org.smpo.demo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.smpo.io.RgbImage;

/// Reads the pixels of an image and tells which attributes of a caption it matches.
///
/// The background is the median colour of the border. A pixel belongs to an object when it is more than
/// half way from the background to the nearest of the six colours. Connected pixels form an object, or
/// several objects where two colours touch. The shape of an object is the one whose outline, with the
/// object's centroid and area, covers it best; rings alone have a hole. Specks of fewer than [#MIN_AREA]
/// pixels are ignored.
///
/// Nothing in it is learned, and nothing is ever trained on its verdicts.
public final class SceneChecker {
    private static final int SIDE = ScenePainter.SIDE;
    private static final int CHANNELS = 3;
    private static final int PIXELS = SIDE * SIDE;
    private static final List<Colour> COLOURS = List.of(Colour.values());

    /// Half way to the colour, at the outline.
    private static final double OBJECT = 0.5;
    /// The smallest painted object, a ring, has 107 pixels.
    static final int MIN_AREA = 24;
    /// Fewer pixels of another colour in an object are noise; more are a second object that touches it.
    private static final double MIN_PART = 0.2;

    private static final int MIN_HOLE = 3;
    /// Largest area in which an object and its best outline differ, relative to the object's area. Circle
    /// and square, the most similar shapes, differ by 0.18; an object farther than this from all four
    /// shapes has no shape.
    private static final double MAX_MISMATCH = 0.3;
    /// Radius between small (at most 9) and large (at least 17), at their geometric mean.
    private static final double LARGE = 12.4;

    private SceneChecker() {}

    /// The attributes of a caption that an image matches. When the number of objects is wrong, colours and
    /// shapes match when the image has those of the caption and no others; a size or a relation does not
    /// match.
    public record Findings(Map<Attribute, Boolean> kept) {
        public Findings {
            kept = Collections.unmodifiableMap(new EnumMap<>(kept));
        }

        /// Returns whether every attribute matches.
        public boolean right() {
            return !kept.containsValue(false);
        }

        /// Returns the attributes that do not match.
        public Set<Attribute> wrong() {
            return kept.entrySet().stream()
                    .filter(entry -> !entry.getValue())
                    .map(Map.Entry::getKey)
                    .collect(Collectors.toCollection(() -> EnumSet.noneOf(Attribute.class)));
        }
    }

    /// An object found in an image.
    ///
    /// @param x centroid in pixels from the left
    /// @param y centroid in pixels from the top
    /// @param shape shape; null when it has none of the four
    record Found(Colour colour, Shape shape, double radius, double x, double y) {
        boolean large() {
            return radius > LARGE;
        }
    }

    /// Compares an image with the scene of a caption.
    ///
    /// @throws IllegalArgumentException when the image is not 64 x 64
    public static Findings check(RgbImage image, Scene scene) {
        return compare(read(image), scene);
    }

    private static Findings compare(List<Found> objects, Scene scene) {
        Map<Attribute, Boolean> kept = new EnumMap<>(Attribute.class);
        switch (scene) {
            case Scene.One one -> {
                putThings(kept, objects, List.of(one.thing()));
                kept.put(Attribute.COUNT, objects.size() == 1);
                boolean large = one.size() == Size.LARGE;
                kept.put(Attribute.SIZE, objects.size() == 1 && objects.get(0).large() == large);
            }
            case Scene.Several several -> {
                putThings(kept, objects, List.of(several.thing()));
                kept.put(Attribute.COUNT, objects.size() == several.count());
            }
            case Scene.Two two -> {
                kept.put(Attribute.COUNT, objects.size() == 2);
                if (objects.size() == 2) {
                    putPair(kept, objects, two);
                } else {
                    putThings(kept, objects, List.of(two.first(), two.second()));
                    kept.put(Attribute.RELATION, false);
                }
            }
        }
        return new Findings(kept);
    }

    private static void putThings(Map<Attribute, Boolean> kept, List<Found> objects, List<Thing> things) {
        kept.put(Attribute.COLOUR, values(objects, Found::colour).equals(values(things, Thing::colour)));
        kept.put(Attribute.SHAPE, values(objects, Found::shape).equals(values(things, Thing::shape)));
    }

    private static <T, V> Set<V> values(List<T> things, Function<T, V> value) {
        return things.stream().map(value).collect(Collectors.toCollection(java.util.HashSet::new));
    }

    /// Assigns the two objects to those of the caption in the way that matches more attributes, preferring
    /// the way that matches the relation.
    private static void putPair(Map<Attribute, Boolean> kept, List<Found> objects, Scene.Two two) {
        int best = -1;
        for (int swap = 0; swap < 2; swap++) {
            Found first = objects.get(swap);
            Found second = objects.get(1 - swap);
            boolean firstColour = first.colour == two.first().colour();
            boolean secondColour = second.colour == two.second().colour();
            boolean firstShape = first.shape == two.first().shape();
            boolean secondShape = second.shape == two.second().shape();
            boolean relation = Relation.of(first.x - second.x, first.y - second.y) == two.relation();
            int score = 2 * (ones(firstColour) + ones(secondColour) + ones(firstShape) + ones(secondShape))
                    + ones(relation);
            if (score > best) {
                best = score;
                kept.put(Attribute.COLOUR, firstColour && secondColour);
                kept.put(Attribute.SHAPE, firstShape && secondShape);
                kept.put(Attribute.RELATION, relation);
            }
        }
    }

    private static int ones(boolean value) {
        return value ? 1 : 0;
    }

    /// Returns the objects of an image, from top to bottom.
    static List<Found> read(RgbImage image) {
        if (image.width() != SIDE || image.height() != SIDE) {
            throw new IllegalArgumentException(
                    "expected an image of " + SIDE + "x" + SIDE + ", got " + image.width() + "x" + image.height());
        }
        double[] difference = differenceFromGround(image.rgb());
        double[][] colours = coloursFromGround(image.rgb());
        int[] nearest = new int[PIXELS];
        boolean[] object = new boolean[PIXELS];
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            nearest[pixel] = nearest(difference, CHANNELS * pixel, colours);
            object[pixel] = part(difference, CHANNELS * pixel, colours[nearest[pixel]]) > OBJECT;
        }
        List<Found> found = new ArrayList<>();
        for (boolean[] region : regions(object)) {
            int area = count(region);
            int least = (int) Math.max(MIN_AREA, MIN_PART * area);
            List<boolean[]> parts = new ArrayList<>();
            for (int colour = 0; colour < colours.length; colour++) {
                boolean[] part = new boolean[PIXELS];
                for (int pixel = 0; pixel < PIXELS; pixel++) {
                    part[pixel] = region[pixel] && nearest[pixel] == colour;
                }
                if (count(part) >= least) {
                    parts.add(part);
                }
            }
            if (parts.size() == 1) {
                // The few pixels of other colours are its edge.
                found.add(measure(region, difference, colours));
            } else {
                parts.forEach(part -> found.add(measure(part, difference, colours)));
            }
        }
        return found;
    }

    private static double[] ground(byte[] rgb) {
        double[] ground = new double[CHANNELS];
        for (int channel = 0; channel < CHANNELS; channel++) {
            int[] border = new int[4 * (SIDE - 1)];
            int next = 0;
            for (int i = 0; i < SIDE - 1; i++) {
                int[] pixels = {i, (i + 1) * SIDE - 1, (SIDE - 1 - i) * SIDE, PIXELS - 1 - i};
                for (int pixel : pixels) {
                    border[next++] = rgb[CHANNELS * pixel + channel] & 0xff;
                }
            }
            Arrays.sort(border);
            ground[channel] = border[border.length / 2];
        }
        return ground;
    }

    private static double[] differenceFromGround(byte[] rgb) {
        double[] ground = ground(rgb);
        double[] difference = new double[rgb.length];
        for (int i = 0; i < rgb.length; i++) {
            difference[i] = (rgb[i] & 0xff) - ground[i % CHANNELS];
        }
        return difference;
    }

    private static double[][] coloursFromGround(byte[] rgb) {
        double[] ground = ground(rgb);
        return COLOURS.stream()
                .map(colour -> new double[] {
                    colour.channel(0) - ground[0], colour.channel(1) - ground[1], colour.channel(2) - ground[2]
                })
                .toArray(double[][]::new);
    }

    /// Returns the colour whose direction from the background is nearest to the difference.
    private static int nearest(double[] difference, int at, double[][] colours) {
        int best = 0;
        double bestCosine = Double.NEGATIVE_INFINITY;
        for (int colour = 0; colour < colours.length; colour++) {
            double[] c = colours[colour];
            double cosine = dot(difference, at, c) / Math.sqrt(dot(c, 0, c));
            if (cosine > bestCosine) {
                best = colour;
                bestCosine = cosine;
            }
        }
        return best;
    }

    /// Returns the position between the background, 0, and the colour, 1.
    private static double part(double[] difference, int at, double[] colour) {
        return dot(difference, at, colour) / Math.max(1, dot(colour, 0, colour));
    }

    private static double dot(double[] values, int at, double[] colour) {
        return values[at] * colour[0] + values[at + 1] * colour[1] + values[at + 2] * colour[2];
    }

    /// Returns the regions of pixels that touch at sides or corners.
    private static List<boolean[]> regions(boolean[] object) {
        List<boolean[]> regions = new ArrayList<>();
        boolean[] left = object.clone();
        for (int start = 0; start < PIXELS; start++) {
            if (left[start]) {
                boolean[] region = flood(left, start, true);
                for (int pixel = 0; pixel < PIXELS; pixel++) {
                    left[pixel] &= !region[pixel];
                }
                if (count(region) >= MIN_AREA) {
                    regions.add(region);
                }
            }
        }
        return regions;
    }

    /// Returns the open pixels that are connected to a pixel.
    private static boolean[] flood(boolean[] open, int start, boolean corners) {
        boolean[] reached = new boolean[PIXELS];
        int[] stack = new int[PIXELS];
        int size = 1;
        stack[0] = start;
        reached[start] = true;
        while (size > 0) {
            int pixel = stack[--size];
            for (int dy = -1; dy <= 1; dy++) {
                for (int dx = -1; dx <= 1; dx++) {
                    int x = column(pixel) + dx;
                    int y = row(pixel) + dy;
                    if (x >= 0 && y >= 0 && x < SIDE && y < SIDE && (corners || dx == 0 || dy == 0)) {
                        int next = y * SIDE + x;
                        if (open[next] && !reached[next]) {
                            reached[next] = true;
                            stack[size++] = next;
                        }
                    }
                }
            }
        }
        return reached;
    }

    private static int row(int pixel) {
        return pixel / SIDE;
    }

    private static int column(int pixel) {
        return pixel % SIDE;
    }

    private static int count(boolean[] region) {
        int count = 0;
        for (boolean pixel : region) {
            count += ones(pixel);
        }
        return count;
    }

    private static Found measure(boolean[] region, double[] difference, double[][] colours) {
        double[] own = ownColour(region, difference);
        double[] cover = new double[PIXELS];
        double area = 0;
        double x = 0;
        double y = 0;
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            if (near(region, pixel)) {
                cover[pixel] = Math.clamp(part(difference, CHANNELS * pixel, own), 0.0, 1.0);
                area += cover[pixel];
                x += cover[pixel] * (column(pixel) + 0.5);
                y += cover[pixel] * (row(pixel) + 0.5);
            }
        }
        x /= area;
        y /= area;
        boolean hole = hole(region) >= MIN_HOLE;
        Shape best = null;
        double least = MAX_MISMATCH;
        for (Shape shape : Shape.values()) {
            double mismatch = mismatch(cover, shape, x, y, area);
            if (mismatch < least) {
                best = shape;
                least = mismatch;
            }
        }
        double radius = Math.sqrt(area / (best == null ? Shape.CIRCLE : best).unitArea());
        Shape shape = best != null && hole == (best == Shape.RING) ? best : null;
        return new Found(COLOURS.get(nearest(own, 0, colours)), shape, radius, x, y);
    }

    /// Returns the mean difference over the interior pixels, into which no background is mixed, or over all
    /// pixels when there is no interior.
    private static double[] ownColour(boolean[] region, double[] difference) {
        double[] inside = new double[CHANNELS];
        double[] all = new double[CHANNELS];
        int insiders = 0;
        int pixels = 0;
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            if (region[pixel]) {
                boolean within = within(region, pixel);
                for (int channel = 0; channel < CHANNELS; channel++) {
                    double value = difference[CHANNELS * pixel + channel];
                    all[channel] += value;
                    inside[channel] += within ? value : 0;
                }
                insiders += ones(within);
                pixels++;
            }
        }
        double[] sum = insiders > 0 ? inside : all;
        for (int channel = 0; channel < CHANNELS; channel++) {
            sum[channel] /= insiders > 0 ? insiders : pixels;
        }
        return sum;
    }

    /// Returns whether all four neighbours are in the region.
    private static boolean within(boolean[] region, int pixel) {
        int x = column(pixel);
        int y = row(pixel);
        return x > 0
                && y > 0
                && x < SIDE - 1
                && y < SIDE - 1
                && region[pixel - 1]
                && region[pixel + 1]
                && region[pixel - SIDE]
                && region[pixel + SIDE];
    }

    /// Returns whether the pixel or a neighbour is in the region.
    private static boolean near(boolean[] region, int pixel) {
        int x = column(pixel);
        int y = row(pixel);
        return region[pixel]
                || (x > 0 && region[pixel - 1])
                || (x < SIDE - 1 && region[pixel + 1])
                || (y > 0 && region[pixel - SIDE])
                || (y < SIDE - 1 && region[pixel + SIDE]);
    }

    /// Returns the pixels that the region encloses.
    private static int hole(boolean[] region) {
        boolean[] open = new boolean[PIXELS];
        boolean[] outside = new boolean[PIXELS];
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            open[pixel] = !region[pixel];
        }
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            int x = column(pixel);
            int y = row(pixel);
            boolean border = x == 0 || y == 0 || x == SIDE - 1 || y == SIDE - 1;
            if (border && open[pixel] && !outside[pixel]) {
                boolean[] reached = flood(open, pixel, false);
                for (int other = 0; other < PIXELS; other++) {
                    outside[other] |= reached[other];
                }
            }
        }
        int hole = 0;
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            hole += ones(open[pixel] && !outside[pixel]);
        }
        return hole;
    }

    /// Returns the summed absolute difference between the coverage and a shape of the same area and
    /// centroid, relative to the area.
    private static double mismatch(double[] cover, Shape shape, double x, double y, double area) {
        double radius = Math.sqrt(area / shape.unitArea());
        double reach = Shape.REACH * radius + 1;
        double sum = 0;
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            double dx = column(pixel) + 0.5 - x;
            double dy = row(pixel) + 0.5 - y;
            boolean near = Math.abs(dx) < reach && Math.abs(dy) < reach;
            sum += Math.abs(cover[pixel] - (near ? shape.coverage(dx, dy, radius) : 0));
        }
        return sum / area;
    }
}
