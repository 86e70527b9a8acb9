package org.smpo.ffi;

/// The VAE's posterior over latents: a normal distribution for each image.
///
/// @param mean Mean, `[B,latent_channels,h,w]` F32
/// @param logvar Logarithm of the variance, -30 to 20, of the same shape
public record Posterior(DeviceTensor mean, DeviceTensor logvar) implements AutoCloseable {

    /// Closes both tensors.
    @Override
    public void close() {
        mean.close();
        logvar.close();
    }
}
