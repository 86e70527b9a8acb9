package org.smpo.ffi;

/// The outputs of CLIP's text tower for a batch of tokens.
///
/// @param hidden Hidden states `[B,S,hidden_size]`, F32
/// @param pooled Pooled output `[B,projection_dim]`, or `[B,hidden_size]` without projection, F32; null
///     if not requested
public record EncodedText(DeviceTensor hidden, DeviceTensor pooled) implements AutoCloseable {

    /// Closes both tensors.
    @Override
    public void close() {
        hidden.close();
        if (pooled != null) {
            pooled.close();
        }
    }
}
