package org.smpo.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.smpo.cache.Cache;
import org.smpo.cache.CachedTensor;
import org.smpo.cache.MomentCache;
import org.smpo.cache.TextCache;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.PreparedImage;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.Posterior;
import org.smpo.ffi.SamplerInputs;
import org.smpo.generate.TextToImage;
import org.smpo.io.Closer;
import org.smpo.io.Digest;
import org.smpo.io.RgbImage;
import org.smpo.network.PromptEncoder;
import org.smpo.network.SizeConditioning;
import org.smpo.network.Vae;

/// The model's encoders: images become latents, captions become prompt embeddings. Results are kept in
/// the cache. Belongs to the engine's thread.
final class PairEncoder implements AutoCloseable {
    private final Engine engine;
    private final int resolution;
    private final boolean xl;
    private final boolean zerosForEmptyPrompt;
    private final Closer parts = new Closer();
    private final Vae vae;
    private final PromptEncoder prompts;
    private final MomentCache moments;
    private final TextCache texts;

    /// Loads the encoders of a model.
    ///
    /// @param resolution side of the square images in pixels
    /// @throws IllegalArgumentException when the resolution does not suit the VAE
    PairEncoder(Engine engine, ModelFiles files, int resolution, Cache cache) throws IOException {
        this.engine = engine;
        this.resolution = resolution;
        this.xl = files.family().orElseThrow() == Family.SDXL;
        this.zerosForEmptyPrompt = xl && TextToImage.zerosForEmptyPrompt(files);
        try {
            this.prompts = parts.add(PromptEncoder.load(engine, files));
            this.vae = parts.add(Vae.load(engine, files.component("vae")));
            if (resolution % vae.downscale() != 0) {
                throw new IllegalArgumentException("data.resolution: expected a multiple of " + vae.downscale()
                        + " for this VAE, got " + resolution);
            }
            Component component = files.component("vae");
            String config = component.config().json().asMap().toString();
            this.moments = new MomentCache(
                    cache,
                    Digest.sha256((files.sha256("vae") + config).getBytes(StandardCharsets.UTF_8)),
                    "pixels -1..1, fp32, whole");
            this.texts = new TextCache(
                    cache,
                    PromptEncoder.digest(files),
                    xl ? 1 : 0,
                    xl ? "fp32, both encoders, pooled" : "fp32, final norm");
        } catch (IOException | RuntimeException e) {
            parts.closeAfter(e);
            throw e;
        }
    }

    /// The text encoders, which are closed with this object.
    PromptEncoder prompts() {
        return prompts;
    }

    /// The VAE, which is closed with this object.
    Vae vae() {
        return vae;
    }

    /// Whether the latents of an image are in the cache, so that it need not be decoded. Safe from any
    /// thread.
    boolean isCached(PreparedImage image) {
        return moments.contains(image);
    }

    /// Encodes pairs.
    ///
    /// @param images winners of all pairs, then losers
    /// @param captions one per pair
    /// @param timesteps one per image
    /// @param label one per pair
    /// @param weight one per pair; null: all the same
    /// @param step step number for the random values
    /// @param items numbers that tell the images' random values apart, one per image
    PairLatents encode(
            List<PreparedImage> images,
            List<String> captions,
            int[] timesteps,
            double[] label,
            double[] weight,
            long step,
            long[] items)
            throws IOException {
        return encode(images, captions, timesteps, label, weight, step, items, false, null);
    }

    /// Encodes single images.
    ///
    /// @param desirable whether each image is desirable; null where the objective does not ask
    PairLatents encodeSingle(
            List<PreparedImage> images,
            List<String> captions,
            int[] timesteps,
            double[] weight,
            long step,
            long[] items,
            boolean[] desirable)
            throws IOException {
        return encode(images, captions, timesteps, null, weight, step, items, true, desirable);
    }

    private PairLatents encode(
            List<PreparedImage> images,
            List<String> captions,
            int[] timesteps,
            double[] label,
            double[] weight,
            long step,
            long[] items,
            boolean single,
            boolean[] desirable)
            throws IOException {
        Closer made = new Closer();
        try {
            DeviceTensor latents = made.add(latents(images, step, items));
            List<TextCache.Embedding> embeddings = embeddings(captions);
            DeviceTensor states = made.add(
                    stacked(embeddings.stream().map(TextCache.Embedding::hidden).toList()));
            DeviceTensor pooled = null;
            DeviceTensor timeIds = null;
            if (xl) {
                pooled = made.add(stacked(embeddings.stream()
                        .map(embedding -> embedding.pooled().orElseThrow())
                        .toList()));
                timeIds = made.add(timeIds(images));
            }
            return new PairLatents(
                    latents, states, pooled, timeIds, timesteps, label, weight, items, single, desirable);
        } catch (IOException | RuntimeException e) {
            made.closeAfter(e);
            throw e;
        }
    }

    /// Conditions of images that are generated at the resolution of training.
    SamplerInputs.Condition condition(List<String> captions) throws IOException {
        return condition(captions, false);
    }

    /// Conditions of the negative side of guidance without negative prompts: those of the empty prompt,
    /// or zeros for an SDXL model that says so, as in diffusers' pipelines.
    SamplerInputs.Condition unconditional(int images) throws IOException {
        return condition(Collections.nCopies(images, ""), zerosForEmptyPrompt);
    }

    /// Adds the starts of a teacher's rollouts, whose prompt is the empty one.
    ///
    /// @param images closed where an exception is thrown
    /// @param starts timestep from which each image's rollout starts
    PairLatents starting(PairLatents images, int[] starts) throws IOException {
        try {
            SamplerInputs.Condition empty = unconditional(1);
            if (empty.timeIds() != null) {
                // Sizes and crop are those of each image.
                empty.timeIds().close();
            }
            return images.withStart(new PairLatents.Start(starts, empty.encoderHiddenStates(), empty.textEmbeds()));
        } catch (IOException | RuntimeException e) {
            images.close();
            throw e;
        }
    }

    private SamplerInputs.Condition condition(List<String> captions, boolean zeros) throws IOException {
        List<TextCache.Embedding> embeddings = embeddings(captions);
        Closer made = new Closer();
        try {
            DeviceTensor states = made.add(
                    stacked(embeddings.stream().map(TextCache.Embedding::hidden).toList(), zeros));
            if (!xl) {
                return new SamplerInputs.Condition(states, null, null);
            }
            DeviceTensor pooled = made.add(stacked(
                    embeddings.stream()
                            .map(embedding -> embedding.pooled().orElseThrow())
                            .toList(),
                    zeros));
            float[] sizes = SizeConditioning.of(resolution, resolution).timeIds();
            DeviceTensor timeIds = made.add(rows(Collections.nCopies(captions.size(), sizes)));
            return new SamplerInputs.Condition(states, pooled, timeIds);
        } catch (RuntimeException e) {
            made.closeAfter(e);
            throw e;
        }
    }

    /// Decodes scaled latents of one image to an image at the resolution of training.
    ///
    /// @param latents `[C,h,w]`, row-major
    RgbImage decode(float[] latents) {
        float[] unscaled = new float[latents.length];
        for (int i = 0; i < unscaled.length; i++) {
            unscaled[i] = latents[i] / (float) vae.config().scalingFactor();
        }
        int side = resolution / vae.downscale();
        try (DeviceTensor tensor = engine.fromHost(unscaled, 1, vae.config().latentChannels(), side, side);
                DeviceTensor pixels = vae.decode(tensor, 0)) {
            return RgbImage.ofDecoded(pixels.toFloats(), resolution, resolution);
        }
    }

    /// Shape of the latents of images at the resolution of training.
    ///
    /// @param images number of images
    long[] latentShape(int images) {
        int side = resolution / vae.downscale();
        return new long[] {images, vae.config().latentChannels(), side, side};
    }

    /// Samples of the images' posteriors, scaled for the UNet.
    private DeviceTensor latents(List<PreparedImage> images, long step, long[] items) throws IOException {
        List<MomentCache.Moments> found;
        try {
            found = moments.moments(images, this::encodeImages);
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
        try (Posterior posterior = new Posterior(
                stacked(found.stream().map(MomentCache.Moments::mean).toList()),
                stacked(found.stream().map(MomentCache.Moments::logvar).toList()))) {
            return PairBatch.sample(engine, posterior, vae.config().scalingFactor(), (int) step, items);
        }
    }

    /// Encodes one image at a time, because a cached result must not depend on the other images.
    private List<MomentCache.Moments> encodeImages(List<RgbImage> images) {
        List<MomentCache.Moments> all = new ArrayList<>(images.size());
        for (RgbImage image : images) {
            try (DeviceTensor pixels = engine.fromHost(pixels(image), 1, 3, image.height(), image.width());
                    Posterior posterior = vae.encode(pixels, 0)) {
                all.add(new MomentCache.Moments(single(posterior.mean()), single(posterior.logvar())));
            }
        }
        return all;
    }

    /// `[3,H,W]`, as torchvision's `ToTensor` and `Normalize(0.5, 0.5)` compute it.
    private static float[] pixels(RgbImage image) {
        byte[] rgb = image.rgb();
        int size = rgb.length / 3;
        float[] values = new float[rgb.length];
        for (int i = 0; i < size; i++) {
            for (int channel = 0; channel < 3; channel++) {
                values[channel * size + i] = ((rgb[3 * i + channel] & 0xFF) / 255f - 0.5f) / 0.5f;
            }
        }
        return values;
    }

    private static CachedTensor single(DeviceTensor tensor) {
        long[] shape = tensor.shape();
        return CachedTensor.of(tensor.toFloats(), shape[1], shape[2], shape[3]);
    }

    private List<TextCache.Embedding> embeddings(List<String> captions) throws IOException {
        return texts.embeddings(
                captions,
                missing -> prompts.encode(missing).stream()
                        .map(embedding -> new TextCache.Embedding(
                                CachedTensor.of(
                                        embedding.hidden(),
                                        (long) embedding.tokens(),
                                        (long) embedding.hidden().length / embedding.tokens()),
                                xl
                                        ? Optional.of(
                                                CachedTensor.of(embedding.pooled(), (long) embedding.pooled().length))
                                        : Optional.empty()))
                        .toList());
    }

    /// SDXL's original size, crop and target size of each image.
    private DeviceTensor timeIds(List<PreparedImage> images) {
        List<float[]> rows = new ArrayList<>();
        for (PreparedImage image : images) {
            rows.add(new SizeConditioning(
                            image.placement().originalHeight(),
                            image.placement().originalWidth(),
                            image.placement().cropTop(),
                            image.placement().cropLeft(),
                            resolution,
                            resolution)
                    .timeIds());
        }
        return rows(rows);
    }

    private DeviceTensor rows(List<float[]> rows) {
        int width = rows.getFirst().length;
        float[] all = new float[rows.size() * width];
        for (int i = 0; i < rows.size(); i++) {
            System.arraycopy(rows.get(i), 0, all, i * width, width);
        }
        return engine.fromHost(all, rows.size(), width);
    }

    private DeviceTensor stacked(List<CachedTensor> tensors) {
        return stacked(tensors, false);
    }

    /// @param zeros whether the result is zero
    private DeviceTensor stacked(List<CachedTensor> tensors, boolean zeros) {
        List<Long> shape = tensors.getFirst().shape();
        float[][] parts = new float[tensors.size()][];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = tensors.get(i).floats();
        }
        int size = parts[0].length;
        float[] all = new float[parts.length * size];
        for (int i = 0; i < parts.length && !zeros; i++) {
            System.arraycopy(parts[i], 0, all, i * size, size);
        }
        long[] sizes = new long[shape.size() + 1];
        Arrays.setAll(sizes, i -> i == 0 ? parts.length : shape.get(i - 1));
        return engine.fromHost(all, sizes);
    }

    @Override
    public void close() {
        parts.closeUnchecked();
    }
}
