package org.smpo.ffi;

/// What a backward pass gives beside the gradients of parameters, which stay in the model.
///
/// @param output the prediction, F32
/// @param sampleGradient gradient of the sample, F32; null where it was not asked for
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
