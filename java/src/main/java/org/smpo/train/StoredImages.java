package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.smpo.data.DataCursor;
import org.smpo.data.ImageSource;
import org.smpo.data.JoinedImages;
import org.smpo.data.PairDecoder;
import org.smpo.data.PairSource;
import org.smpo.data.PairUse;
import org.smpo.data.PreparedBatch;
import org.smpo.data.PreparedImage;
import org.smpo.data.PreparedSingle;
import org.smpo.data.RecordImages;
import org.smpo.io.Closer;
import org.smpo.io.JsonObject;
import org.smpo.io.Rendering;
import org.smpo.parallel.World;
import org.smpo.recipe.DataRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.TrainingImages;
import org.smpo.schedule.RolloutSampler;
import org.smpo.schedule.TimestepSampler;

/// Single images from files, for objectives that judge an image by itself. The images of the next step
/// are decoded on virtual threads while the current step computes. Belongs to the engine's thread.
///
/// An image has the random values of a winner in its place of the global batch, so that training on the
/// winners of pairs is training on the pairs without their losers. Each image has a timestep and noise
/// of its own.
final class StoredImages implements PairStream {
    private final Closer sources;
    private final Rendering rendering;
    private final ImageSource source;
    private final Weights weights;
    private final Map<String, Object> files;
    private final Recipe recipe;
    private final boolean judges;
    private final DataCursor cursor;
    private final Optional<KindSampler> kinds;
    private final PairDecoder plain;
    private final PairEncoder encoder;
    private final TimestepSampler timesteps;
    private final Optional<RolloutSampler> rollouts;
    private final DecodeAhead<PreparedSingle> ahead;

    /// The weights of images by their index in the source; null when all have the same.
    @FunctionalInterface
    private interface Weights {
        double[] of(int[] indices);
    }

    private StoredImages(
            Closer sources,
            ImageSource source,
            Weights weights,
            Map<String, Object> files,
            Optional<DataCursor.Mix> mix,
            PairEncoder encoder,
            Recipe recipe,
            Optional<RolloutSampler> rollouts,
            Rendering rendering,
            World world) {
        this.sources = sources;
        this.source = source;
        this.weights = weights;
        this.files = files;
        this.encoder = encoder;
        this.recipe = recipe;
        this.rendering = rendering;
        this.judges = recipe.objective().loss().judgesImages();
        int[] eligible = IntStream.range(0, source.size())
                .filter(image -> !judges || source.desirable(image).isPresent())
                .toArray();
        requireKinds(eligible);
        DataRecipe data = recipe.data();
        this.cursor = new DataCursor(
                eligible,
                Math.toIntExact(data.heldOut().of(Math.max(1, eligible.length))),
                recipe.seed(),
                world.rank(),
                world.size(),
                mix);
        this.kinds = data.desirableShare().isEmpty()
                ? Optional.empty()
                : Optional.of(kinds(eligible, data.desirableShare().getAsDouble()));
        PairDecoder decoder = new PairDecoder(StoredPairs.augmented(data), recipe.seed());
        this.plain = new PairDecoder(StoredPairs.plain(data), recipe.seed());
        this.timesteps = recipe.timestepSampler();
        this.rollouts = rollouts;
        this.ahead = new DecodeAhead<>(step -> decoder.prepareSingle(source, uses(step), encoder::isCached));
    }

    /// An objective that judges images needs both kinds.
    private void requireKinds(int[] eligible) {
        String name = recipe.objective().loss().name();
        if (eligible.length == 0) {
            throw new IllegalArgumentException("data.paths: label: expected true or false for " + name
                    + ", found none in " + source.describe() + "; add a field label, or use method sft");
        }
        if (!judges) {
            return;
        }
        long desirable = IntStream.of(eligible)
                .filter(image -> source.desirable(image).orElseThrow())
                .count();
        if (desirable == 0 || desirable == eligible.length) {
            throw new IllegalArgumentException("data.paths: expected desirable and undesirable images for " + name
                    + ", found " + (desirable == 0 ? "undesirable" : "desirable") + " ones only in "
                    + source.describe() + "; add images of the other kind");
        }
    }

    private KindSampler kinds(int[] eligible, double share) {
        int[] heldOut = cursor.heldOutPairs();
        int[] training = IntStream.of(eligible)
                .filter(image -> Arrays.binarySearch(heldOut, image) < 0)
                .toArray();
        return new KindSampler(
                recipe.seed(),
                share,
                IntStream.of(training)
                        .filter(image -> source.desirable(image).orElseThrow())
                        .toArray(),
                IntStream.of(training)
                        .filter(image -> !source.desirable(image).orElseThrow())
                        .toArray());
    }

    /// Opens the single images of a recipe.
    ///
    /// @param encoder encoder of images and captions; the caller keeps ownership
    /// @param rollouts where a teacher's rollouts of the images start; empty where the method has none
    /// @param begun manifest of the run that is resumed; empty for a new run
    /// @param world processes that share the images of each step
    /// @param say receiver of lines about the images found
    /// @throws IllegalArgumentException when no image can be trained on
    /// @throws IOException when a file cannot be read
    static StoredImages open(
            Recipe recipe,
            PairEncoder encoder,
            Optional<RolloutSampler> rollouts,
            Optional<JsonObject> begun,
            World world,
            Consumer<String> say)
            throws IOException {
        Closer sources = new Closer();
        try {
            Rendering rendering = StoredPairs.rendering(begun);
            return recipe.data().images() == TrainingImages.SINGLE
                    ? ofImages(recipe, encoder, rollouts, rendering, sources, world, say)
                    : ofPairs(recipe, encoder, rollouts, rendering, sources, world, say);
        } catch (IOException | RuntimeException e) {
            sources.closeAfter(e);
            throw e;
        }
    }

    private static StoredImages ofImages(
            Recipe recipe,
            PairEncoder encoder,
            Optional<RolloutSampler> rollouts,
            Rendering rendering,
            Closer sources,
            World world,
            Consumer<String> say)
            throws IOException {
        List<RecordImages> parts = new ArrayList<>();
        for (Path path : recipe.data().paths()) {
            parts.add(sources.add(RecordImages.open(path, recipe.data().split(), rendering)));
        }
        parts.forEach(part -> part.notes().forEach(note -> say.accept("data.paths: " + note)));
        ImageSource images = parts.size() == 1 ? parts.getFirst() : new JoinedImages(parts);
        StoredImages stored = new StoredImages(
                sources,
                images,
                indices -> null,
                Map.of(),
                Optional.empty(),
                encoder,
                recipe,
                rollouts,
                rendering,
                world);
        say.accept(images.describe() + ": "
                + (stored.trainingPairs() + stored.heldOutPairs()) + " images to train on or hold out"
                + (stored.judges ? stored.describeKinds() : ""));
        return stored;
    }

    private String describeKinds() {
        long desirable = IntStream.range(0, source.size())
                .filter(image -> source.desirable(image).orElse(false))
                .count();
        long all = trainingPairs() + (long) heldOutPairs();
        return ", " + desirable + " desirable, " + (all - desirable) + " undesirable, " + (source.size() - all)
                + " without a label";
    }

    private static StoredImages ofPairs(
            Recipe recipe,
            PairEncoder encoder,
            Optional<RolloutSampler> rollouts,
            Rendering rendering,
            Closer sources,
            World world,
            Consumer<String> say)
            throws IOException {
        StoredPairs.Opened opened = StoredPairs.source(recipe, rendering, sources, say);
        PairSource pairs = opened.pairs();
        StoredLabels labels = StoredLabels.open(recipe, pairs, say);
        TrainingImages which = recipe.data().images();
        PairImages images = PairImages.of(
                pairs,
                labels,
                which != TrainingImages.LOSER,
                which == TrainingImages.LOSER || which == TrainingImages.BOTH);
        return new StoredImages(
                sources,
                images,
                indices ->
                        labels.weights(IntStream.of(indices).map(images::pair).toArray()),
                opened.identity(labels, recipe.data()),
                opened.mix(recipe.data(), images::pair),
                encoder,
                recipe,
                rollouts,
                rendering,
                world);
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
        return StoredPairs.identity(source.describe(), source.fingerprint(), files, rendering, this);
    }

    private List<PairUse> uses(long step) {
        int images = recipe.train().pairsPerStep();
        if (kinds.isEmpty()) {
            return cursor.batch(step, images);
        }
        return kinds.get().batch(step, images).subList(cursor.firstPlace(images), cursor.endPlace(images));
    }

    @Override
    public Batch batch(long step) throws IOException, InterruptedException {
        return encode(ahead.batch(step), cursor.firstPlace(recipe.train().pairsPerStep()), step);
    }

    @Override
    public Batch heldOutBatch(int from, int count) throws IOException, InterruptedException {
        int[] all = cursor.heldOutPairs();
        List<PairUse> uses = IntStream.range(from, Math.min(all.length, from + count))
                .mapToObj(i -> new PairUse(all[i], 0))
                .toList();
        return encode(plain.prepareSingle(source, uses, encoder::isCached), from, HELD_OUT_STEP);
    }

    /// @param first place of the first image in the global batch, which selects its random values
    private Batch encode(PreparedBatch<PreparedSingle> decoded, int first, long step) throws IOException {
        List<PreparedSingle> singles = decoded.pairs();
        if (singles.isEmpty()) {
            return new Batch(null, List.of(), decoded.bad());
        }
        List<PreparedImage> images = new ArrayList<>(singles.size());
        List<String> captions = new ArrayList<>(singles.size());
        List<String> ids = new ArrayList<>(singles.size());
        int[] indices = new int[singles.size()];
        int[] t = new int[singles.size()];
        long[] items = new long[singles.size()];
        int[] starts = new int[singles.size()];
        boolean[] desirable = judges ? new boolean[singles.size()] : null;
        for (int i = 0; i < items.length; i++) {
            PreparedSingle single = singles.get(i);
            images.add(single.image());
            captions.add(single.caption());
            ids.add(single.id());
            indices[i] = single.use().pair();
            int place = first + single.place();
            items[i] = 2L * place;
            if (rollouts.isPresent()) {
                starts[i] = rollouts.get().start(step, place);
                t[i] = rollouts.get().timestep(step, place);
            } else {
                t[i] = timesteps.draw(step, place, 1)[0];
            }
            if (judges) {
                desirable[i] = source.desirable(indices[i]).orElseThrow();
            }
        }
        // A held-out image counts as any other, so that evaluations of runs with different weights compare.
        double[] factors = step == HELD_OUT_STEP ? null : weights.of(indices);
        PairLatents latents = encoder.encodeSingle(images, captions, t, factors, step, items, desirable);
        return new Batch(rollouts.isPresent() ? encoder.starting(latents, starts) : latents, ids, decoded.bad());
    }

    @Override
    public void close() {
        ahead.close();
        sources.closeUnchecked();
    }
}
