package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.IntUnaryOperator;
import org.smpo.data.Crop;
import org.smpo.data.DataCursor;
import org.smpo.data.DecodeOptions;
import org.smpo.data.JoinedPairs;
import org.smpo.data.PairDecoder;
import org.smpo.data.PairSource;
import org.smpo.data.PairUse;
import org.smpo.data.PreparedBatch;
import org.smpo.data.PreparedImage;
import org.smpo.data.PreparedPair;
import org.smpo.io.Closer;
import org.smpo.io.JsonObject;
import org.smpo.io.Rendering;
import org.smpo.parallel.World;
import org.smpo.recipe.DataRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.schedule.TimestepSampler;

/// Pairs from files. The pairs of the next step are decoded on virtual threads while the current step computes.
/// Belongs to the engine's thread.
final class StoredPairs implements PairStream {
    /// Manifest entry: how images are decoded.
    private static final String RENDERING = "rendering";

    private final Closer sources;
    private final Rendering rendering;
    private final Opened opened;
    private final PairSource source;
    private final StoredLabels labels;
    private final Recipe recipe;
    private final DataCursor cursor;
    private final PairDecoder decoder;
    private final PairDecoder plain;
    private final PairEncoder encoder;
    private final TimestepSampler timesteps;
    private final boolean timestepPerImage;

    private final DecodeAhead<PreparedPair> ahead;

    private StoredPairs(
            Closer sources,
            Opened opened,
            StoredLabels labels,
            PairEncoder encoder,
            Recipe recipe,
            Rendering rendering,
            World world) {
        this.rendering = rendering;
        this.sources = sources;
        this.opened = opened;
        this.source = opened.pairs();
        this.labels = labels;
        this.encoder = encoder;
        this.recipe = recipe;
        int[] eligible = labels.eligible();
        DataRecipe data = recipe.data();
        this.cursor = new DataCursor(
                eligible,
                Math.toIntExact(data.heldOut().of(Math.max(1, eligible.length))),
                recipe.seed(),
                world.rank(),
                world.size(),
                opened.mix(data, pair -> pair));
        this.decoder = new PairDecoder(augmented(data), recipe.seed());
        this.plain = new PairDecoder(plain(data), recipe.seed());
        this.timesteps = recipe.timestepSampler();
        this.timestepPerImage = recipe.objective().loss().timestepPerImage();
        this.ahead = new DecodeAhead<>(step -> decoder.prepare(source, uses(step), encoder::isCached));
    }

    /// The decoding of images that are trained on.
    static DecodeOptions augmented(DataRecipe data) {
        return new DecodeOptions(
                data.side(), data.crop(), data.flip(), data.sharedAugmentation(), data.captionDropout(), threads(data));
    }

    /// The decoding of held-out images.
    static DecodeOptions plain(DataRecipe data) {
        return new DecodeOptions(data.side(), Crop.CENTRE, false, true, 0, threads(data));
    }

    private static int threads(DataRecipe data) {
        return data.decodeThreads().orElse(Runtime.getRuntime().availableProcessors());
    }

    /// Opens the data of a recipe.
    ///
    /// @param encoder encoder of images and captions; the caller keeps ownership
    /// @param begun manifest of the run that is resumed; empty for a new run
    /// @param world processes that share the pairs of each step
    /// @param say receiver of lines about the pairs found
    /// @throws IllegalArgumentException when no pair can be trained on
    /// @throws IOException when a file cannot be read
    static StoredPairs open(
            Recipe recipe, PairEncoder encoder, Optional<JsonObject> begun, World world, Consumer<String> say)
            throws IOException {
        Closer sources = new Closer();
        try {
            Rendering rendering = rendering(begun);
            Opened opened = source(recipe, rendering, sources, say);
            return new StoredPairs(
                    sources, opened, StoredLabels.open(recipe, opened.pairs(), say), encoder, recipe, rendering, world);
        } catch (IOException | RuntimeException e) {
            sources.closeAfter(e);
            throw e;
        }
    }

    /// The way in which a run decodes images.
    static Rendering rendering(Optional<JsonObject> begun) {
        // Versions that decoded as Pillow does wrote no such entry; their runs keep their pixels.
        boolean asPillow = begun.isPresent() && !begun.get().has(RENDERING);
        return asPillow ? Rendering.PILLOW : Rendering.VIEWER;
    }

    /// The pairs of a recipe.
    ///
    /// @param pairs all of them, those that are mixed in last
    /// @param own number of pairs that are not mixed in
    record Opened(PairSource pairs, int own) {
        /// How pairs, or images of pairs, are mixed into others.
        ///
        /// @param pairOf the pair of an index
        Optional<DataCursor.Mix> mix(DataRecipe data, IntUnaryOperator pairOf) {
            return data.mix().map(mix -> new DataCursor.Mix(index -> pairOf.applyAsInt(index) >= own, mix.fraction()));
        }

        /// Entries of the manifest that identify the labels, and which pairs are mixed in.
        Map<String, Object> identity(StoredLabels labels, DataRecipe data) throws IOException {
            Map<String, Object> all = new LinkedHashMap<>(labels.identity());
            if (data.mix().isPresent()) {
                all.put("mixed_pairs", (long) pairs.size() - own);
            }
            return all;
        }
    }

    /// Opens the pairs of a recipe.
    ///
    /// @param sources gets what has to be closed
    static Opened source(Recipe recipe, Rendering rendering, Closer sources, Consumer<String> say) throws IOException {
        DataRecipe data = recipe.data();
        List<PairSource> parts = new ArrayList<>(open(data, "data.paths", data.paths(), rendering, sources, say));
        int own = parts.stream().mapToInt(PairSource::size).sum();
        if (data.mix().isPresent()) {
            parts.addAll(open(data, "data.mix.paths", data.mix().get().paths(), rendering, sources, say));
        }
        return new Opened(JoinedPairs.of(parts), own);
    }

    private static List<PairSource> open(
            DataRecipe data, String key, List<Path> paths, Rendering rendering, Closer sources, Consumer<String> say)
            throws IOException {
        List<PairSource> parts = new ArrayList<>();
        for (Path path : paths) {
            PairSource part = sources.add(PairSource.open(path, data.split(), rendering));
            part.notes().forEach(note -> say.accept(key + ": " + note));
            parts.add(part);
        }
        return parts;
    }

    @Override
    public int trainingPairs() {
        return cursor.trainingPairs();
    }

    @Override
    public int heldOutPairs() {
        return cursor.heldOutPairs().length;
    }

    @Override
    public Map<String, Object> identity() throws IOException {
        return identity(
                source.describe(), source.fingerprint(), opened.identity(labels, recipe.data()), rendering, this);
    }

    /// Entries of the manifest that stored data have.
    ///
    /// @param files entries about other files
    static Map<String, Object> identity(
            String describe, String fingerprint, Map<String, Object> files, Rendering rendering, PairStream stream) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("data", Map.of("source", describe, "fingerprint", fingerprint));
        all.putAll(files);
        if (rendering == Rendering.VIEWER) {
            all.put(RENDERING, "viewer");
        }
        all.put("training_pairs", (long) stream.trainingPairs());
        all.put("held_out_pairs", (long) stream.heldOutPairs());
        return all;
    }

    @Override
    public Batch batch(long step) throws IOException, InterruptedException {
        PreparedBatch<PreparedPair> decoded = ahead.batch(step);
        List<PairUse> uses = uses(step);
        // Places in the whole global batch, so that random values do not depend on the number of processes.
        int first = cursor.firstPlace(recipe.train().pairsPerStep());
        Map<PairUse, Integer> places = new HashMap<>();
        for (int i = 0; i < uses.size(); i++) {
            places.put(uses.get(i), first + i);
        }
        return encode(decoded, places, step);
    }

    private List<PairUse> uses(long step) {
        return cursor.batch(step, recipe.train().pairsPerStep());
    }

    @Override
    public Batch heldOutBatch(int from, int count) throws IOException, InterruptedException {
        int[] all = cursor.heldOutPairs();
        Map<PairUse, Integer> places = new HashMap<>();
        List<PairUse> uses = new ArrayList<>();
        for (int i = from; i < Math.min(all.length, from + count); i++) {
            PairUse use = new PairUse(all[i], 0);
            uses.add(use);
            places.put(use, i);
        }
        return encode(plain.prepare(source, uses, encoder::isCached), places, HELD_OUT_STEP);
    }

    /// @param places index of each pair in the global batch, which selects its random values
    private Batch encode(PreparedBatch<PreparedPair> decoded, Map<PairUse, Integer> places, long step)
            throws IOException {
        int pairs = decoded.pairs().size();
        if (pairs == 0) {
            return new Batch(null, List.of(), decoded.bad());
        }
        List<PreparedImage> images = new ArrayList<>(2 * pairs);
        List<PreparedImage> losers = new ArrayList<>(pairs);
        int[] inBatch = new int[pairs];
        int[] indices = new int[pairs];
        double[] numbers = new double[pairs];
        long[] items = new long[2 * pairs];
        for (int i = 0; i < pairs; i++) {
            PreparedPair pair = decoded.pairs().get(i);
            indices[i] = pair.use().pair();
            int winner = labels.winner(indices[i]);
            images.add(pair.image(winner));
            losers.add(pair.image(1 - winner));
            numbers[i] = labels.number(indices[i]);
            int place = places.get(pair.use());
            inBatch[i] = place;
            items[i] = 2L * place;
            items[pairs + i] = 2L * place + 1;
        }
        images.addAll(losers);
        // A held-out pair counts as any other, so that evaluations of runs with different weights compare.
        double[] weights = step == HELD_OUT_STEP ? null : labels.weights(indices);
        int[] t = timesteps.ofImages(step, inBatch, timestepPerImage);
        List<String> captions =
                decoded.pairs().stream().map(PreparedPair::caption).toList();
        List<String> ids = decoded.pairs().stream().map(PreparedPair::id).toList();
        return new Batch(encoder.encode(images, captions, t, numbers, weights, step, items), ids, decoded.bad());
    }

    @Override
    public void close() {
        ahead.close();
        sources.closeUnchecked();
    }
}
