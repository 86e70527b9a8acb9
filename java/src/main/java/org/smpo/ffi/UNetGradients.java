package org.smpo.ffi;

/// The results of a UNet's backward pass, except the gradients of parameters, which stay in the model.
///
/// @param output Prediction, F32
/// @param sampleGradient Gradient of the sample, F32; null if not requested
public record UNetGradients(DeviceTensor output, DeviceTensor sampleGradient) implements AutoCloseable {

    /// Closes both tensors.
    @Override
    public void close() {
        output.close();
        if (sampleGradient != null) {
            sampleGradient.close();
        }
    }
}
