package org.smpo.ffi;

/// What a VAE says about pictures: a normal distribution of latents.
///
/// @param mean `[B,latent_channels,h,w]` F32
/// @param logvar logarithm of the variance, within -30 to 20, of the same shape
public record Posterior(DeviceTensor mean, DeviceTensor logvar) implements AutoCloseable {

    /// Closes both tensors.
    @Override
    public void close() {
        mean.close();
        logvar.close();
    }
}
