package org.smpo.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.smpo.cache.Cache;
import org.smpo.cache.CachedTensor;
import org.smpo.cache.MomentCache;
import org.smpo.cache.TextCache;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.BadPair;
import org.smpo.data.Crop;
import org.smpo.data.DataCursor;
import org.smpo.data.DecodeOptions;
import org.smpo.data.LabelledPairs;
import org.smpo.data.PairDecoder;
import org.smpo.data.PairSource;
import org.smpo.data.PairUse;
import org.smpo.data.PreparedBatch;
import org.smpo.data.PreparedImage;
import org.smpo.data.PreparedPair;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.Posterior;
import org.smpo.io.Digest;
import org.smpo.io.RgbImage;
import org.smpo.network.PromptEncoder;
import org.smpo.network.SizeConditioning;
import org.smpo.network.Vae;
import org.smpo.objective.PairLabel;
import org.smpo.recipe.DataRecipe;
import org.smpo.schedule.TimestepSampler;

/// From a data set to the windows of a run: decodes ahead on virtual threads, encodes what the cache does not have,
/// and draws what is random, all as functions of the step. Belongs to the engine's thread.
final class TrainingData implements AutoCloseable {
    /// The step of the random numbers of held-out pairs: the same whenever they are looked at, and no training
    /// step's.
    static final long HELD_OUT_STEP = 0xFFFF_FFFFL;

    private final Engine engine;
    private final PairSource source;
    private final LabelledPairs labels;
    private final double probability;
    private final DataCursor cursor;
    private final int pairsPerStep;
    private final PairDecoder decoder;
    private final PairDecoder plain;
    private final TimestepSampler timesteps;
    private final Vae vae;
    private final PromptEncoder prompts;
    private final MomentCache moments;
    private final TextCache texts;
    private final boolean xl;
    private final int resolution;

    private long aheadStep = -1;
    private FutureTask<PreparedBatch> ahead;
    private Thread aheadThread;

    /// A window as it goes into a step.
    ///
    /// @param latents the tensors; the caller's to close; null when no pair could be read
    /// @param ids names of the pairs
    /// @param bad records that were skipped
    record Window(PairLatents latents, List<String> ids, List<BadPair> bad) implements AutoCloseable {
        /// Whether no pair of it could be read.
        boolean isEmpty() {
            return latents == null;
        }

        @Override
        public void close() {
            if (latents != null) {
                latents.close();
            }
        }
    }

    /// Opens what the recipe's data need of the model.
    ///
    /// @param labels of the source's pairs
    /// @param probability of every winner; NaN: the labels' own
    TrainingData(
            Engine engine,
            ModelFiles files,
            PairSource source,
            LabelledPairs labels,
            double probability,
            DataRecipe recipe,
            int pairsPerStep,
            TimestepSampler timesteps,
            long seed,
            Cache cache)
            throws IOException {
        this.engine = engine;
        this.source = source;
        this.labels = labels;
        this.probability = probability;
        this.pairsPerStep = pairsPerStep;
        this.timesteps = timesteps;
        this.resolution = recipe.resolution();
        int[] eligible = labels.eligible();
        this.cursor = new DataCursor(
                eligible, Math.toIntExact(recipe.heldOut().of(Math.max(1, eligible.length))), seed, 0, 1);
        int threads = recipe.decodeThreads().orElse(Runtime.getRuntime().availableProcessors());
        this.decoder = new PairDecoder(
                new DecodeOptions(
                        resolution,
                        recipe.crop(),
                        recipe.flip(),
                        recipe.sharedAugmentation(),
                        recipe.captionDropout(),
                        threads),
                seed);
        this.plain = new PairDecoder(new DecodeOptions(resolution, Crop.CENTRE, false, true, 0, threads), seed);
        this.xl = files.family().orElseThrow() == Family.SDXL;
        this.prompts = PromptEncoder.load(engine, files);
        try {
            this.vae = Vae.load(engine, files.component("vae"));
        } catch (IOException | RuntimeException e) {
            prompts.close();
            throw e;
        }
        if (resolution % vae.downscale() != 0) {
            close();
            throw new IllegalArgumentException(
                    "data.resolution: expected a multiple of " + vae.downscale() + " for this VAE, got " + resolution);
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
    }

    /// What encodes prompts. It closes with this.
    PromptEncoder prompts() {
        return prompts;
    }

    /// What encodes pictures. It closes with this.
    Vae vae() {
        return vae;
    }

    /// Pairs that are trained on.
    int trainingPairs() {
        return cursor.trainingPairs();
    }

    /// Places of the pairs that are held out.
    int[] heldOut() {
        return cursor.heldOutPairs();
    }

    /// The window of an optimizer step; the next one is decoded meanwhile.
    Window window(long step) throws IOException, InterruptedException {
        if (step != aheadStep) {
            decodeAhead(step);
        }
        PreparedBatch window = result(ahead);
        List<PairUse> uses = cursor.batch(step, pairsPerStep);
        decodeAhead(step + 1);
        Map<PairUse, Integer> places = new HashMap<>();
        for (int i = 0; i < uses.size(); i++) {
            places.put(uses.get(i), i);
        }
        return encode(window, places, step);
    }

    private void decodeAhead(long step) {
        stopDecoding();
        ahead = new FutureTask<>(() -> decoder.prepare(source, cursor.batch(step, pairsPerStep), moments::contains));
        aheadThread = Thread.ofVirtual().name("smpo-decode").start(ahead);
        aheadStep = step;
    }

    /// Waits until nothing reads the source any more: it is closed next.
    private void stopDecoding() {
        if (aheadThread == null) {
            return;
        }
        // Not interrupted: that would close a file which somebody else may still read.
        boolean interrupted = false;
        while (aheadThread.isAlive()) {
            try {
                aheadThread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        aheadThread = null;
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static PreparedBatch result(FutureTask<PreparedBatch> decoded) throws IOException, InterruptedException {
        try {
            return decoded.get();
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case IOException failure -> throw failure;
                case RuntimeException failure -> throw failure;
                case null, default -> throw new IOException(e.getCause());
            }
        }
    }

    /// Some of the held-out pairs: not augmented, with their captions, and with the same timesteps each time.
    ///
    /// @param from the first of them
    /// @param count at most so many
    Window heldOutWindow(int from, int count) throws IOException, InterruptedException {
        int[] all = cursor.heldOutPairs();
        Map<PairUse, Integer> places = new HashMap<>();
        List<PairUse> uses = new ArrayList<>();
        for (int i = from; i < Math.min(all.length, from + count); i++) {
            PairUse use = new PairUse(all[i], 0);
            uses.add(use);
            places.put(use, i);
        }
        return encode(plain.prepare(source, uses, moments::contains), places, HELD_OUT_STEP);
    }

    /// @param places of the pairs in the whole step: what their random numbers are numbered by
    private Window encode(PreparedBatch window, Map<PairUse, Integer> places, long step) throws IOException {
        int pairs = window.pairs().size();
        if (pairs == 0) {
            return new Window(null, List.of(), window.bad());
        }
        List<PreparedImage> images = new ArrayList<>(2 * pairs);
        int[] t = new int[pairs];
        double[] p = new double[pairs];
        long[] items = new long[2 * pairs];
        List<PreparedImage> losers = new ArrayList<>(pairs);
        for (int i = 0; i < pairs; i++) {
            PreparedPair pair = window.pairs().get(i);
            PairLabel label = labels.label(pair.use().pair()).orElseThrow();
            images.add(pair.image(label.winner()));
            losers.add(pair.image(1 - label.winner()));
            p[i] = Double.isNaN(probability) ? label.probability() : probability;
            int place = places.get(pair.use());
            t[i] = timesteps.draw(step, place, 1)[0];
            items[i] = 2L * place;
            items[pairs + i] = 2L * place + 1;
        }
        images.addAll(losers);
        List<String> captions =
                window.pairs().stream().map(PreparedPair::caption).toList();
        List<String> ids = window.pairs().stream().map(PreparedPair::id).toList();
        DeviceTensor latents = null;
        List<DeviceTensor> made = new ArrayList<>();
        try {
            latents = latents(images, step, items);
            made.add(latents);
            List<TextCache.Embedding> embeddings = embeddings(captions);
            DeviceTensor states =
                    stacked(embeddings.stream().map(TextCache.Embedding::hidden).toList());
            made.add(states);
            DeviceTensor pooled = null;
            DeviceTensor timeIds = null;
            if (xl) {
                pooled = stacked(embeddings.stream()
                        .map(embedding -> embedding.pooled().orElseThrow())
                        .toList());
                made.add(pooled);
                timeIds = timeIds(images);
                made.add(timeIds);
            }
            return new Window(new PairLatents(latents, states, pooled, timeIds, t, p, items), ids, window.bad());
        } catch (IOException | RuntimeException e) {
            made.forEach(DeviceTensor::close);
            throw e;
        }
    }

    /// Samples of the pictures' posteriors, scaled as the UNet takes them.
    private DeviceTensor latents(List<PreparedImage> images, long step, long[] items) throws IOException {
        List<MomentCache.Moments> found;
        try {
            found = moments.moments(images, this::encodePictures);
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
        try (Posterior posterior = new Posterior(
                stacked(found.stream().map(MomentCache.Moments::mean).toList()),
                stacked(found.stream().map(MomentCache.Moments::logvar).toList()))) {
            return PairBatch.sample(engine, posterior, vae.config().scalingFactor(), (int) step, items);
        }
    }

    /// One at a time: what is kept must not depend on its neighbours.
    private List<MomentCache.Moments> encodePictures(List<RgbImage> pictures) {
        List<MomentCache.Moments> all = new ArrayList<>(pictures.size());
        for (RgbImage picture : pictures) {
            try (DeviceTensor pixels = engine.fromHost(pixels(picture), 1, 3, picture.height(), picture.width());
                    Posterior posterior = vae.encode(pixels, 0)) {
                all.add(new MomentCache.Moments(single(posterior.mean()), single(posterior.logvar())));
            }
        }
        return all;
    }

    /// `[3,H,W]`, as torchvision's `ToTensor` and `Normalize(0.5, 0.5)` make it.
    private static float[] pixels(RgbImage picture) {
        byte[] rgb = picture.rgb();
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
        int width = rows.getFirst().length;
        float[] all = new float[rows.size() * width];
        for (int i = 0; i < rows.size(); i++) {
            System.arraycopy(rows.get(i), 0, all, i * width, width);
        }
        return engine.fromHost(all, rows.size(), width);
    }

    private DeviceTensor stacked(List<CachedTensor> tensors) {
        List<Long> shape = tensors.getFirst().shape();
        float[][] parts = new float[tensors.size()][];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = tensors.get(i).floats();
        }
        int size = parts[0].length;
        float[] all = new float[parts.length * size];
        for (int i = 0; i < parts.length; i++) {
            System.arraycopy(parts[i], 0, all, i * size, size);
        }
        long[] sizes = new long[shape.size() + 1];
        sizes[0] = parts.length;
        Arrays.setAll(sizes, i -> i == 0 ? parts.length : shape.get(i - 1));
        return engine.fromHost(all, sizes);
    }

    @Override
    public void close() {
        stopDecoding();
        if (vae != null) {
            vae.close();
        }
        prompts.close();
    }
}
