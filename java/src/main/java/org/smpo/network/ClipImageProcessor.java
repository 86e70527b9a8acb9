package org.smpo.network;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.smpo.checkpoint.ModelException;
import org.smpo.ffi.PixelSpec;
import org.smpo.io.FloatResample;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Resample;
import org.smpo.io.RgbImage;

/// The preprocessing of images for CLIP's vision tower: resize, crop, scale to 0..1, normalize, as
/// configured in `preprocessor_config.json`.
///
/// The values are those of transformers' `CLIPImageProcessorPil` (up to version 4 the class
/// `CLIPImageProcessor`, with which PickScore was published), to the bit: Pillow resizes 8-bit pixels.
/// Where torchvision is installed, transformers 5 takes a torchvision-backed class instead, whose resize
/// rounds differently: on photograph-like images it differs by one level of 255 in about 0.4 % of the
/// values (two levels where an image of 100x130 pixels is enlarged), which is up to 0.015 (0.03) after
/// normalization (transformers 5.23, torchvision 0.26).
///
/// @param resize First step
/// @param filter Filter of the resize
/// @param cropHeight Number of rows cut from the middle; 0: no crop. Smaller images get a black border
/// @param cropWidth Number of columns cut from the middle, likewise
/// @param rescaleFactor Factor of the 8-bit values, 1/255; 1: none
/// @param mean Mean that is subtracted, for red, green and blue
/// @param std Standard deviation by which the difference is divided
public record ClipImageProcessor(
        Resize resize,
        Resample.Filter filter,
        int cropHeight,
        int cropWidth,
        double rescaleFactor,
        List<Double> mean,
        List<Double> std) {
    private static final String FILE = "preprocessor_config.json";
    private static final int CHANNELS = 3;
    private static final int LEVELS = 256;
    private static final List<Double> OPENAI_MEAN = List.of(0.48145466, 0.4578275, 0.40821073);
    private static final List<Double> OPENAI_STD = List.of(0.26862954, 0.26130258, 0.27577711);
    private static final int SIDE = 224;

    /// Pillow's numbers of its filters.
    private static final Map<Long, Resample.Filter> FILTERS =
            Map.of(2L, Resample.Filter.BILINEAR, 3L, Resample.Filter.BICUBIC);

    /// Resizing rule of an image.
    public sealed interface Resize {}

    /// Not at all.
    public record NoResize() implements Resize {}

    /// To a shorter side of `pixels`, with its proportions.
    public record ShortestEdge(int pixels) implements Resize {}

    /// Resizes to a longer side of `pixels`, with its proportions, in float and not rounded to 8 bits; then
    /// black rows or columns on both sides make it a square.
    public record LongestSide(int pixels) implements Resize {}

    /// Resizes to a shorter side of `pixels`, with its proportions, for a square from the middle that
    /// begins where torchvision's `CenterCrop` begins: at half the rest, rounded half to even.
    public record ShortestEdgeOfTorchvision(int pixels) implements Resize {}

    /// Resizes to these sides and ignores proportions.
    public record Exact(int height, int width) implements Resize {}

    public ClipImageProcessor {
        mean = List.copyOf(mean);
        std = List.copyOf(std);
    }

    /// OpenAI's, which is the class's default: 224, bicubic, centre crop.
    public static ClipImageProcessor openAi() {
        return new ClipImageProcessor(
                new ShortestEdge(SIDE), Resample.Filter.BICUBIC, SIDE, SIDE, 1.0 / 255, OPENAI_MEAN, OPENAI_STD);
    }

    /// HPSv2's (github.com/tgxs002/HPSv2, commit 866735e, hpsv2/src/open_clip/transform.py): the longer
    /// side resized, zeros around, then OpenAI's normalization. Antialiased, as torchvision 0.17 and
    /// later resize tensors; HPSv2's own scores of 2023 were made without. An image whose longer side
    /// fits is padded as well, which the original does not do.
    ///
    /// @param pixels side of the result
    static ClipImageProcessor longestSide(int pixels) {
        return new ClipImageProcessor(
                new LongestSide(pixels), Resample.Filter.BICUBIC, pixels, pixels, 1.0 / 255, OPENAI_MEAN, OPENAI_STD);
    }

    /// Torchvision's `Resize` and `CenterCrop` of a Pillow image with OpenAI's normalization, which BLIP and
    /// ImageReward take (github.com/THUDM/ImageReward, commit c1392c6, ImageReward/ImageReward.py).
    ///
    /// @param pixels side of the result
    static ClipImageProcessor torchvision(int pixels) {
        return new ClipImageProcessor(
                new ShortestEdgeOfTorchvision(pixels),
                Resample.Filter.BICUBIC,
                pixels,
                pixels,
                1.0 / 255,
                OPENAI_MEAN,
                OPENAI_STD);
    }

    /// Reads the `preprocessor_config.json` in a folder; absent keys take the class's defaults.
    ///
    /// @throws NoSuchFileException when there is none
    /// @throws ModelException for a value that we do not support, naming the key
    public static ClipImageProcessor open(Path folder) throws IOException {
        Path file = folder.resolve(FILE);
        if (!Files.isRegularFile(file)) {
            throw new NoSuchFileException(file + ": expected the image processor's config, found nothing; name a folder"
                    + " that has it (for PickScore, that of CLIP-ViT-H-14-laion2B-s32B-b79K)");
        }
        return parse(Json.readObject(file));
    }

    static ClipImageProcessor parse(JsonObject json) throws IOException {
        for (String key : List.of("image_processor_type", "feature_extractor_type")) {
            if (json.has(key) && !json.string(key).startsWith("CLIP")) {
                throw new ModelException(json.source(), key, "CLIPImageProcessor", json.string(key));
            }
        }
        if (flag(json, "do_pad", false)) {
            throw new ModelException(json.source(), "do_pad", "false (CLIP crops; nothing else is supported)", true);
        }
        Resize resize = flag(json, "do_resize", true) ? resize(json) : new NoResize();
        boolean crops = flag(json, "do_center_crop", true);
        Exact crop = crops ? crop(json) : new Exact(0, 0);
        boolean rescales = flag(json, "do_rescale", true);
        boolean normalizes = flag(json, "do_normalize", true);
        return new ClipImageProcessor(
                resize,
                filter(json),
                crop.height(),
                crop.width(),
                !rescales ? 1 : json.has("rescale_factor") ? json.number("rescale_factor") : 1.0 / 255,
                normalizes ? perChannel(json, "image_mean", OPENAI_MEAN) : List.of(0.0, 0.0, 0.0),
                normalizes ? perChannel(json, "image_std", OPENAI_STD) : List.of(1.0, 1.0, 1.0));
    }

    private static boolean flag(JsonObject json, String key, boolean absent) throws IOException {
        return json.has(key) ? json.bool(key) : absent;
    }

    private static Resample.Filter filter(JsonObject json) throws IOException {
        if (!json.has("resample")) {
            return Resample.Filter.BICUBIC;
        }
        Resample.Filter filter = FILTERS.get(json.integer("resample"));
        if (filter == null) {
            throw new ModelException(
                    json.source(), "resample", "2 (bilinear) or 3 (bicubic)", json.integer("resample"));
        }
        return filter;
    }

    private static Resize resize(JsonObject json) throws IOException {
        if (!json.has("size")) {
            return new ShortestEdge(SIDE);
        }
        if (json.asMap().get("size") instanceof Long) {
            return new ShortestEdge(positive(json, "size"));
        }
        JsonObject size = json.object("size");
        if (size.has("shortest_edge") && !size.has("longest_edge")) {
            return new ShortestEdge(positive(size, "shortest_edge"));
        }
        if (size.has("height") && size.has("width")) {
            return new Exact(positive(size, "height"), positive(size, "width"));
        }
        throw new ModelException(json.source(), "size", "shortest_edge, or height and width", size.asMap());
    }

    private static Exact crop(JsonObject json) throws IOException {
        if (!json.has("crop_size")) {
            return new Exact(SIDE, SIDE);
        }
        if (json.asMap().get("crop_size") instanceof Long) {
            int side = positive(json, "crop_size");
            return new Exact(side, side);
        }
        JsonObject size = json.object("crop_size");
        return new Exact(positive(size, "height"), positive(size, "width"));
    }

    private static int positive(JsonObject json, String key) throws IOException {
        long value = json.integer(key);
        if (value < 1 || value > 1 << 14) {
            throw new ModelException(json.source(), json.path() + "." + key, "1 to " + (1 << 14), value);
        }
        return (int) value;
    }

    private static List<Double> perChannel(JsonObject json, String key, List<Double> absent) throws IOException {
        if (!json.has(key)) {
            return absent;
        }
        List<Double> values = json.asMap().get(key) instanceof List<?>
                ? json.numbers(key)
                : java.util.Collections.nCopies(CHANNELS, json.number(key));
        boolean divides = key.equals("image_std");
        if (values.size() != CHANNELS || (divides && values.contains(0.0))) {
            throw new ModelException(
                    json.source(), key, CHANNELS + (divides ? " numbers that are not 0" : " numbers"), values);
        }
        return values;
    }

    /// Height of the result in pixels; 0 where it depends on the image.
    public int height() {
        return cropHeight > 0 ? cropHeight : resize instanceof Exact exact ? exact.height() : 0;
    }

    /// Width of the result in pixels; 0 where it depends on the image.
    public int width() {
        return cropWidth > 0 ? cropWidth : resize instanceof Exact exact ? exact.width() : 0;
    }

    /// A one-line description of everything that the values depend on, for cache keys.
    public String describe() {
        String sized = switch (resize) {
            case NoResize none -> "none";
            case ShortestEdge edge -> "shortest_edge " + edge.pixels();
            case LongestSide edge -> "longest_edge " + edge.pixels() + " padded";
            case ShortestEdgeOfTorchvision edge -> "shortest_edge " + edge.pixels() + " as torchvision";
            case Exact exact -> exact.height() + "x" + exact.width();
        };
        return (resize instanceof LongestSide ? "clip float antialiased" : "clip pil-8bit") + "; resize " + sized + " "
                + filter.name().toLowerCase(Locale.ROOT) + "; crop " + cropHeight + "x" + cropWidth + "; rescale "
                + rescaleFactor + "; mean " + mean + "; std " + std;
    }

    /// Returns this preprocessing of images of one size in float, with its gradient. Nothing is rounded to 8
    /// bits: before normalization, values differ from those of [#apply] by up to 1.13 levels of 255. At sharp
    /// edges they differ by more, since what a bicubic filter overshoots is kept, as torch does with floats,
    /// where Pillow cuts it off at 0 and 255.
    ///
    /// @throws ArithmeticException when values are not scaled to 0..1
    public PixelSpec differentiable(int imageHeight, int imageWidth) {
        if (Math.abs(rescaleFactor * (LEVELS - 1) - 1) > 1e-6) {
            throw new ArithmeticException("image processor: expected the rescale factor 1/255, got " + rescaleFactor
                    + "; a gradient needs values of 0..1");
        }
        Exact size = switch (resize) {
            case NoResize none -> new Exact(imageHeight, imageWidth);
            case ShortestEdge edge -> shorterSide(imageHeight, imageWidth, edge.pixels());
            case ShortestEdgeOfTorchvision edge -> shorterSide(imageHeight, imageWidth, edge.pixels());
            case LongestSide edge -> longerSide(imageHeight, imageWidth, edge.pixels());
            case Exact exact -> exact;
        };
        int rows = cropHeight > 0 ? cropHeight : size.height();
        int columns = cropWidth > 0 ? cropWidth : size.width();
        boolean pads = resize instanceof LongestSide;
        return new PixelSpec(
                filter == Resample.Filter.BILINEAR ? PixelSpec.Filter.BILINEAR : PixelSpec.Filter.BICUBIC,
                size.height(),
                size.width(),
                rows,
                columns,
                pads ? (rows - size.height()) / 2 : -cropStart(size.height(), rows),
                pads ? (columns - size.width()) / 2 : -cropStart(size.width(), columns),
                mean,
                std);
    }

    private static Exact shorterSide(int height, int width, int pixels) {
        // As Resample.shorterSide: the longer side is cut off to whole pixels.
        return height <= width
                ? new Exact(pixels, (int) ((long) pixels * width / height))
                : new Exact((int) ((long) pixels * height / width), pixels);
    }

    /// The size of an image whose longer side is resized; the shorter side is rounded to the nearest pixel,
    /// half to even.
    private static Exact longerSide(int height, int width, int pixels) {
        double scale = pixels / (double) Math.max(height, width);
        return new Exact(Math.max(1, (int) Math.rint(height * scale)), Math.max(1, (int) Math.rint(width * scale)));
    }

    /// Preprocesses an image.
    ///
    /// @return [3, height, width]
    public float[] apply(RgbImage image) {
        return switch (resize) {
            case NoResize none -> cropped(image);
            case ShortestEdge edge -> cropped(Resample.shorterSide(image, edge.pixels(), filter));
            case ShortestEdgeOfTorchvision edge -> cropped(Resample.shorterSide(image, edge.pixels(), filter));
            case LongestSide edge -> padded(image, edge.pixels());
            case Exact exact -> cropped(Resample.resize(image, exact.width(), exact.height(), filter));
        };
    }

    private float[] cropped(RgbImage resized) {
        int rows = cropHeight > 0 ? cropHeight : resized.height();
        int columns = cropWidth > 0 ? cropWidth : resized.width();
        int top = cropStart(resized.height(), rows);
        int left = cropStart(resized.width(), columns);
        byte[] rgb = resized.rgb();
        float[] values = new float[CHANNELS * rows * columns];
        for (int channel = 0; channel < CHANNELS; channel++) {
            float[] table = table(channel);
            for (int y = 0; y < rows; y++) {
                for (int x = 0; x < columns; x++) {
                    boolean inside =
                            y + top >= 0 && y + top < resized.height() && x + left >= 0 && x + left < resized.width();
                    int level = inside ? rgb[CHANNELS * ((y + top) * resized.width() + x + left) + channel] & 0xff : 0;
                    values[(channel * rows + y) * columns + x] = table[level];
                }
            }
        }
        return values;
    }

    /// An image in float whose longer side is resized, with zeros around it, normalized.
    private float[] padded(RgbImage image, int side) {
        Exact size = longerSide(image.height(), image.width(), side);
        int rows = size.height();
        int columns = size.width();
        float[] resized = FloatResample.resize(image, columns, rows, filter);
        int top = (side - rows) / 2;
        int left = (side - columns) / 2;
        float[] values = new float[CHANNELS * side * side];
        for (int channel = 0; channel < CHANNELS; channel++) {
            float shift = mean.get(channel).floatValue();
            float scaling = std.get(channel).floatValue();
            for (int y = 0; y < side; y++) {
                for (int x = 0; x < side; x++) {
                    boolean inside = y >= top && y < top + rows && x >= left && x < left + columns;
                    float value = inside ? resized[(channel * rows + y - top) * columns + x - left] : 0;
                    values[(channel * side + y) * side + x] = (value - shift) / scaling;
                }
            }
        }
        return values;
    }

    /// The first source row (or column) of a crop; negative where the image is smaller and gets a
    /// border. An odd border has its larger half before the image, an odd crop its larger half after;
    /// torchvision rounds half to even.
    private int cropStart(int from, int to) {
        return resize instanceof ShortestEdgeOfTorchvision
                ? (int) Math.rint((from - to) / 2.0)
                : Math.floorDiv(from - to, 2);
    }

    /// The value of each level, rounded as transformers rounds: the product in double to float, then in
    /// float.
    private float[] table(int channel) {
        float[] table = new float[LEVELS];
        float shift = mean.get(channel).floatValue();
        float scale = std.get(channel).floatValue();
        for (int level = 0; level < LEVELS; level++) {
            table[level] = ((float) (level * rescaleFactor) - shift) / scale;
        }
        return table;
    }
}
