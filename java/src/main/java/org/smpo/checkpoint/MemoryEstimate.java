package org.smpo.checkpoint;

/// The estimated memory that a model needs, from its config, for choosing a machine and a batch size. In bytes.
///
/// - Weights to generate: every parameter in the compute type, 2 bytes (bf16) or 4 (fp32).
/// - Work to generate: the larger of the UNet's and the VAE decoder's. The UNet, on two rows per image
/// (guidance): its skip connections and six tensors of its widest level. The decoder, per image: four tensors of
/// its widest level. Attention is taken to be fused (no score matrix), matrix libraries' workspaces not counted.
/// - State to train all of the UNet: 20 bytes per parameter (fp32 master, gradient, two Adam moments; bf16 copy
/// and bf16 reference). To train adapters: 2 bytes per UNet parameter, and 16 per adapter parameter, not counted
/// here.
/// - Frozen while training: VAE and text encoders in bf16.
/// - Activations kept for backward, per image, in bf16 without checkpointing, SiLU and GELU recomputed.
/// Counted per pixel: a resnet keeps its input and its normed input and twice its output's channels, a transformer
/// block 24 times its channels, the rest of an attention 3 times. For SD 1.5 at 512 × 512 that is 0.77 GB and for
/// SDXL at 1024 × 1024 5.75 GB; counts layer by layer give 0.78 and 5.78.
///
/// @param generateWeights Size of the weights of all components
/// @param generateWork Memory for the activations of the whole batch
/// @param trainState Size of the UNet's training state with every weight trained
/// @param trainAdapterState Size of the UNet under adapters, the adapters not counted
/// @param trainFrozen Size of VAE and text encoders
/// @param trainActivations Memory for the activations of the whole batch
/// @param generatePacked Size of the packed copies of the weights, which fp32 on a CPU with AVX-512 adds if they fit
public record MemoryEstimate(
        long generateWeights,
        long generateWork,
        long trainState,
        long trainAdapterState,
        long trainFrozen,
        long trainActivations,
        long generatePacked) {
    private static final int BF16 = 2;
    private static final int TRAIN_BYTES_PER_PARAMETER = 20;
    private static final int BLOCK_CHANNELS = 24;
    private static final int ATTENTION_CHANNELS = 3;

    /// Estimates the memory for images of one size.
    ///
    /// @param model Whole pipeline
    /// @param height Height of the images in pixels
    /// @param width Width of the images in pixels
    /// @param batch Number of images generated together
    /// @param computeBytes Size of one element in bytes when generating: 2 for bf16, 4 for fp32
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
                (long) batch * BF16 * kept(unet, latentHeight, latentWidth),
                computeBytes == BF16 ? 0 : all * computeBytes);
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

    /// Number of elements alive at the widest point of one row's forward pass.
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

    /// Number of elements kept for one row's backward pass.
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
