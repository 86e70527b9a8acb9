package org.smpo.ffi;

/// What CLIP's text tower says about tokens.
///
/// @param hidden `[B,S,hidden_size]` F32
/// @param pooled `[B,projection_dim]`, without projection `[B,hidden_size]`, F32; null where it was not asked for
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
