package org.smpo.checkpoint;

/// How much memory a model needs, from its config: estimates, for choosing a machine and a batch. Bytes.
///
/// - Weights to generate: every parameter in the compute type, 2 bytes (bf16) or 4 (fp32).
/// - Work to generate: the larger of the UNet's and the VAE decoder's. The UNet, on two rows per picture
/// (guidance): its skip connections and six tensors of its widest level. The decoder, per picture: four tensors of
/// its widest level. Attention is taken to be fused (no score matrix), matrix libraries' workspaces not counted.
/// - State to train all of the UNet: 20 bytes per parameter (fp32 master, gradient, two Adam moments; bf16 copy
/// and bf16 reference). To train adapters: 2 bytes per UNet parameter, and 16 per adapter parameter, not counted
/// here.
/// - Frozen while training: VAE and text encoders in bf16.
/// - Activations kept for backward, per picture, in bf16 without checkpointing, SiLU and GELU recomputed.
/// Counted per pixel: a resnet keeps its input and its normed input and twice its output's channels, a transformer
/// block 24 times its channels, the rest of an attention 3 times. For SD 1.5 at 512 × 512 that is 0.77 GB and for
/// SDXL at 1024 × 1024 5.75 GB; layer by layer counts say 0.78 and 5.78.
///
/// @param generateWeights all components
/// @param generateWork for the whole batch
/// @param trainState UNet, every weight trained
/// @param trainAdapterState UNet with adapters, themselves not counted
/// @param trainFrozen VAE and text encoders
/// @param trainActivations for the whole batch
public record MemoryEstimate(
        long generateWeights,
        long generateWork,
        long trainState,
        long trainAdapterState,
        long trainFrozen,
        long trainActivations) {
    private static final int BF16 = 2;
    private static final int TRAIN_BYTES_PER_PARAMETER = 20;
    private static final int BLOCK_CHANNELS = 24;
    private static final int ATTENTION_CHANNELS = 3;

    /// Estimates for pictures of a size.
    ///
    /// @param model a whole pipeline
    /// @param height of pictures in pixels
    /// @param width of pictures in pixels
    /// @param batch pictures at a time
    /// @param computeBytes of one number when generating: 2 for bf16, 4 for fp32
    /// @throws ModelException when the model is only one component
    public static MemoryEstimate of(ModelFiles model, int height, int width, int batch, int computeBytes)
            throws ModelException {
        UNetConfig unet = model.unet();
        VaeConfig vae = model.vae();
        long unetParameters = model.component("unet").parameterCount();
        long all = model.components().values().stream()
                .mapToLong(Component::parameterCount)
                .sum();
        int latentHeight = Math.ceilDiv(height, vae.scale());
        int latentWidth = Math.ceilDiv(width, vae.scale());
        long unetWork = 2L * computeBytes * unetForward(unet, latentHeight, latentWidth);
        long vaeWork = 4L * computeBytes * widest(vae, height, width);
        return new MemoryEstimate(
                all * computeBytes,
                batch * Math.max(unetWork, vaeWork),
                unetParameters * TRAIN_BYTES_PER_PARAMETER,
                unetParameters * BF16,
                (all - unetParameters) * BF16,
                (long) batch * BF16 * kept(unet, latentHeight, latentWidth));
    }

    /// Weights and work.
    public long generate() {
        return generateWeights + generateWork;
    }

    /// State, frozen networks and activations.
    public long train() {
        return trainState + trainFrozen + trainActivations;
    }

    /// The same with adapters.
    public long trainAdapters() {
        return trainAdapterState + trainFrozen + trainActivations;
    }

    private static long area(int level, int height, int width) {
        return (long) Math.ceilDiv(height, 1 << level) * Math.ceilDiv(width, 1 << level);
    }

    private static long widest(VaeConfig vae, int height, int width) {
        long widest = 0;
        for (int i = 0; i < vae.blockOutChannels().size(); i++) {
            widest = Math.max(widest, vae.blockOutChannels().get(i) * area(i, height, width));
        }
        return widest;
    }

    /// Numbers alive at the widest point of one row's forward pass.
    private static long unetForward(UNetConfig unet, int height, int width) {
        long skips = unet.blockOutChannels().get(0) * area(0, height, width);
        long widest = 0;
        for (int i = 0; i < unet.levels(); i++) {
            long tensor = unet.blockOutChannels().get(i) * area(i, height, width);
            skips += unet.layersPerBlock().get(i) * tensor;
            if (i < unet.levels() - 1) {
                skips += unet.blockOutChannels().get(i) * area(i + 1, height, width);
            }
            widest = Math.max(widest, tensor);
        }
        return skips + 6 * widest;
    }

    /// Numbers kept for one row's backward pass.
    static long kept(UNetConfig unet, int height, int width) {
        int levels = unet.levels();
        long kept = 3L * unet.blockOutChannels().get(0) * area(0, height, width);
        for (int i = 0; i < levels; i++) {
            long channels = unet.blockOutChannels().get(i);
            long input = unet.blockOutChannels().get(Math.max(i - 1, 0));
            for (int j = 0; j < unet.layersPerBlock().get(i); j++) {
                kept += area(i, height, width)
                        * (2 * (j == 0 ? input : channels)
                                + 2 * channels
                                + attention(unet, i, unet.downAttention().get(i)));
            }
            if (i < levels - 1) {
                kept += channels * area(i, height, width);
            }
        }
        int deepest = levels - 1;
        kept += area(deepest, height, width)
                * (8L * unet.blockOutChannels().get(deepest) + attention(unet, deepest, true));
        for (int i = 0; i < levels; i++) {
            int level = levels - 1 - i;
            long channels = unet.blockOutChannels().get(level);
            long previous = unet.blockOutChannels().get(Math.min(level + 1, deepest));
            long above = unet.blockOutChannels().get(Math.max(level - 1, 0));
            int layers = unet.layersPerBlock().get(level) + 1;
            for (int j = 0; j < layers; j++) {
                long input = (j == 0 ? previous : channels) + (j == layers - 1 ? above : channels);
                kept += area(level, height, width)
                        * (2 * input
                                + 2 * channels
                                + attention(unet, level, unet.upAttention().get(i)));
            }
            if (level > 0) {
                kept += channels * area(level - 1, height, width);
            }
        }
        return kept;
    }

    private static long attention(UNetConfig unet, int level, boolean attends) {
        return attends
                ? (ATTENTION_CHANNELS
                                + (long) BLOCK_CHANNELS
                                        * unet.transformerLayers().get(level))
                        * unet.blockOutChannels().get(level)
                : 0;
    }
}
