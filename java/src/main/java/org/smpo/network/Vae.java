package org.smpo.network;

import java.io.IOException;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.VaeConfig;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.InputGradients;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.Posterior;
import org.smpo.ffi.VaeSpec;
import org.smpo.io.DType;

/// An `AutoencoderKL` on an engine's device, in fp32: in half precision the published SDXL one overflows. Belongs to
/// the engine's thread.
public final class Vae implements AutoCloseable {
    private final VaeConfig config;
    private final NativeModel network;

    private Vae(VaeConfig config, NativeModel network) {
        this.config = config;
        this.network = network;
    }

    /// Loads a component.
    ///
    /// @throws ModelException when it is no VAE, or a weight is not finite
    /// @throws IOException when a file cannot be read
    public static Vae load(Engine engine, Component component) throws IOException {
        VaeConfig config = NativeWeights.config(component, VaeConfig.class);
        VaeSpec spec = new VaeSpec(
                config.inChannels(),
                config.outChannels(),
                config.latentChannels(),
                config.blockOutChannels(),
                config.layersPerBlock(),
                config.normNumGroups(),
                config.useQuantConv(),
                config.usePostQuantConv(),
                config.midBlockAttention());
        NativeModel network = NativeModel.openVae(engine, spec, ModelOptions.frozen(DType.F32));
        return new Vae(config, NativeWeights.fill(network, component));
    }

    /// The architecture.
    public VaeConfig config() {
        return config;
    }

    /// Number of pixels along each side of one latent.
    public int downscale() {
        return 1 << (config.blockOutChannels().size() - 1);
    }

    /// Encodes images to their posterior over latents.
    ///
    /// @param pixels Images, `[B,3,H,W]` in [-1, 1]
    /// @param tile Side of a tile in pixels, a multiple of 4 times [#downscale()]; 0: the whole image
    /// @return unscaled, the caller's to close
    public Posterior encode(DeviceTensor pixels, int tile) {
        return network.encode(pixels, tile);
    }

    /// Decodes latents to images.
    ///
    /// @param latents Unscaled latents, `[B,4,h,w]`: those that a UNet works on, divided by
    ///     [VaeConfig#scalingFactor()]
    /// @param tile Side of a tile in pixels, a multiple of 4 times [#downscale()]; 0: the whole image
    /// @return `[B,3,H,W]`, about -1 to 1, the caller's to close
    public DeviceTensor decode(DeviceTensor latents, int tile) {
        return network.decode(latents, tile);
    }

    /// Returns the gradient of the sum of `pixels * cotangent` with respect to the latents, for the pixels of
    /// [#decode] of the whole image. Layers are computed again instead of keeping their activations.
    ///
    /// @param latents Unscaled latents, as in [#decode]
    /// @param cotangent Gradient of the pixels, `[B,3,H,W]`
    /// @return of the latents' shape, the caller's to close
    public DeviceTensor decodeBackward(DeviceTensor latents, DeviceTensor cotangent) {
        return InputGradients.ofDecoder(network, latents, true, cotangent);
    }

    @Override
    public void close() {
        network.close();
    }
}
