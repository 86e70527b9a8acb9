package org.smpo.ffi;

import java.lang.foreign.MemorySegment;

/// Gradients of a network's output with respect to its input. Gradients of parameters stay as they are and
/// cost nothing.
public final class InputGradients {
    private InputGradients() {}

    /// Returns the gradient of the sum of `output * cotangent` with respect to a UNet's sample.
    ///
    /// @param cotangent Gradient of the output, of the output's shape
    /// @return of the sample's shape, F32; the caller closes it
    public static DeviceTensor ofUNet(NativeModel model, UNetInputs inputs, DeviceTensor cotangent) {
        Engine engine = model.engine();
        long id = model.id();
        long session = engine.enter();
        MemorySegment output = engine.result();
        Errors.check(
                Native.unetBackward(
                        session,
                        id,
                        engine.inputs(inputs, true),
                        engine.own(cotangent),
                        output,
                        output.asSlice(Long.BYTES),
                        engine.error().segment()),
                engine.error(),
                "smpo_unet_backward");
        DeviceTensor gradient = engine.adopt(1);
        engine.adopt(0).close();
        return gradient;
    }

    /// Returns the gradient of the sum of `pixels * cotangent` with respect to the latents, for the pixels of
    /// [NativeModel#decode] of the whole image.
    ///
    /// @param checkpointing Whether to compute layers again instead of keeping their activations, which takes
    ///     less memory and gives the same bits
    /// @param cotangent Gradient of the pixels, of their shape
    /// @return of the latents' shape, F32; the caller closes it
    public static DeviceTensor ofDecoder(
            NativeModel model, DeviceTensor latents, boolean checkpointing, DeviceTensor cotangent) {
        Engine engine = model.engine();
        long id = model.id();
        long session = engine.enter();
        Errors.check(
                Native.vaeDecodeBackward(
                        session,
                        id,
                        engine.own(latents),
                        checkpointing ? 1 : 0,
                        engine.own(cotangent),
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_vae_decode_backward");
        return engine.adopt(0);
    }

    /// Returns the gradient of the sum of `embeddings * cotangent` with respect to the images of
    /// [NativeModel#encodeImage].
    ///
    /// @param cotangent Gradient of the embeddings, of their shape
    /// @return of the images' shape, F32; the caller closes it
    public static DeviceTensor ofVision(NativeModel model, DeviceTensor pixelValues, DeviceTensor cotangent) {
        Engine engine = model.engine();
        long id = model.id();
        long session = engine.enter();
        Errors.check(
                Native.clipVisionBackward(
                        session,
                        id,
                        engine.own(pixelValues),
                        engine.own(cotangent),
                        engine.result(),
                        engine.error().segment()),
                engine.error(),
                "smpo_clip_vision_backward");
        return engine.adopt(0);
    }
}
