package org.smpo.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/// The preprocessing of images for a vision encoder, in float and with its gradient.
///
/// Pixels in [-1, 1] become `p = clamp((pixel + 1) / 2, 0, 1)`, which is resized with antialiasing, placed in the
/// result, where the rest is black, and normalized: `(p - mean) / std`.
///
/// @param filter Filter of the resize
/// @param resizedHeight Height of the resized image
/// @param resizedWidth Width of the resized image
/// @param height Height of the result
/// @param width Width of the result
/// @param top Row of the result at which the resized image begins; negative: the rows before are cut off
/// @param left Column of the result at which the resized image begins, likewise
/// @param mean Mean of each channel
/// @param std Standard deviation of each channel
public record PixelSpec(
        Filter filter,
        int resizedHeight,
        int resizedWidth,
        int height,
        int width,
        int top,
        int left,
        List<Double> mean,
        List<Double> std) {
    /// Filters of the resize.
    public enum Filter {
        /// A triangle.
        BILINEAR(1),
        /// Keys' cubic with a = -1/2.
        BICUBIC(2);

        private final int code;

        Filter(int code) {
            this.code = code;
        }

        int code() {
            return code;
        }
    }

    public PixelSpec {
        mean = List.copyOf(mean);
        std = List.copyOf(std);
    }

    /// Returns the values of images.
    ///
    /// @param pixels `[B,3,H,W]` in [-1, 1]
    /// @return `[B,3,height,width]` F32; the caller closes it
    /// @throws InvalidArgumentException naming the field that does not fit
    public DeviceTensor values(DeviceTensor pixels) {
        Engine engine = pixels.engine();
        long session = engine.enter();
        try (Arena arena = Arena.ofConfined()) {
            Errors.check(
                    Native.pixelValues(
                            session,
                            engine.own(pixels),
                            write(arena),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_pixel_values");
        }
        return engine.adopt(0);
    }

    /// Returns the gradient of the sum of `values * gradient` with respect to the pixels.
    ///
    /// @param pixels images as in [#values]
    /// @param gradient gradient of the values, of their shape
    /// @return `[B,3,H,W]` F32, 0 where a pixel is beyond [-1, 1]; the caller closes it
    /// @throws ShapeMismatchException when the gradient has another shape
    public DeviceTensor backward(DeviceTensor pixels, DeviceTensor gradient) {
        Engine engine = pixels.engine();
        long session = engine.enter();
        try (Arena arena = Arena.ofConfined()) {
            Errors.check(
                    Native.pixelValuesBackward(
                            session,
                            engine.own(pixels),
                            write(arena),
                            engine.own(gradient),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_pixel_values_backward");
        }
        return engine.adopt(0);
    }

    private MemorySegment write(Arena arena) {
        Struct spec = Struct.allocate(Native.PIXEL_SPEC, arena);
        spec.set("filter", filter.code());
        spec.set("resized_height", resizedHeight);
        spec.set("resized_width", resizedWidth);
        spec.set("height", height);
        spec.set("width", width);
        spec.set("top", top);
        spec.set("left", left);
        for (int channel = 0; channel < mean.size(); channel++) {
            spec.set("mean", channel, mean.get(channel));
            spec.set("std", channel, std.get(channel));
        }
        return spec.segment();
    }
}
