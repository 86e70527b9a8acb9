package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.DataCursor;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.PairBatchInputs;
import org.smpo.ffi.SamplerInputs;
import org.smpo.io.Closer;
import org.smpo.io.Digest;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Safetensors;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.TrajectoryRecipe;

/// Pairs that the policy generates: candidates for the steps of its own trajectories ([Trajectories]).
/// The choices of a rollout are shuffled and trained on once, a batch per optimizer step, before the
/// next rollout. The last batch of a rollout may have fewer pairs than the others. Belongs to the
/// engine's thread.
final class Rollout implements PairStream {
    /// File of a checkpoint.
    private static final String FILE = "rollout.safetensors";

    // Keys of the counts and means of moved winners.
    private static final String TRIED = "guided";
    private static final String MOVED = "moved";
    private static final String RISE = "mean_rise";
    private static final String GAP = "mean_difference";

    /// Rollouts in a row without a pair after which a run fails.
    private static final int MOST_EMPTY = 20;

    private final Engine engine;
    private final Trajectories trajectories;
    private final PairEncoder encoder;
    private final TrajectoryRecipe recipe;
    private final int pairsPerStep;
    private final World world;
    private final Philox philox;

    private Pool pool = new Pool(0, 0, List.of(), List.of());
    private Generation generation = new Generation(0, 0);

    /// What the log says about a rollout.
    ///
    /// @param rollout number of the rollout, from 0
    /// @param compared number of comparisons
    /// @param kept number of those that are trained on
    /// @param meanScore mean score of the final images
    /// @param medianDifference median difference of the best and the worst score of a comparison
    /// @param guided moves of winners, with means in place of sums; empty without a guide
    private record Summary(
            long rollout,
            long compared,
            long kept,
            double meanScore,
            double medianDifference,
            Optional<WinnerGuide.Guided> guided) {
        static Summary of(long rollout, Trajectories.Result result) {
            return new Summary(
                    rollout,
                    result.differences().length,
                    result.choices().size(),
                    result.meanScore(),
                    result.medianDifference(),
                    result.guided().map(WinnerGuide.Guided::mean));
        }

        static Summary read(JsonObject json) throws IOException {
            return new Summary(
                    json.integer("rollout"),
                    json.integer("compared"),
                    json.integer("kept"),
                    json.number("mean_score"),
                    json.number("median_difference"),
                    json.has(TRIED)
                            ? Optional.of(new WinnerGuide.Guided(
                                    json.integer(TRIED), json.integer(MOVED), json.number(RISE), json.number(GAP), 0))
                            : Optional.empty());
        }

        Map<String, Object> json() {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("rollout", rollout);
            all.put("compared", compared);
            all.put("kept", kept);
            all.put("kept_share", (double) kept / compared);
            all.put("mean_score", meanScore);
            all.put("median_difference", medianDifference);
            guided.ifPresent(moves -> {
                all.put(TRIED, moves.tried());
                all.put(MOVED, moves.moved());
                all.put(RISE, moves.rise());
                all.put(GAP, moves.difference());
            });
            return all;
        }

        /// What the log says, which also has the time that moves took.
        Map<String, Object> event() {
            Map<String, Object> all = json();
            guided.ifPresent(moves -> all.put("time", Map.of("guide_seconds", moves.seconds())));
            return all;
        }
    }

    /// The choices that are being trained on.
    ///
    /// @param firstStep optimizer step of the first of them
    /// @param nextRollout number of the next rollout
    /// @param choices the choices in the order of training
    /// @param summaries the rollouts before that step, since the choices before these
    private record Pool(long firstStep, long nextRollout, List<Trajectories.Choice> choices, List<Summary> summaries) {}

    private Rollout(Recipe recipe, Engine engine, Trajectories trajectories, PairEncoder encoder, World world) {
        this.engine = engine;
        this.world = world;
        this.trajectories = trajectories;
        this.encoder = encoder;
        this.recipe = recipe.trajectory().orElseThrow();
        this.pairsPerStep = recipe.train().pairsPerStep();
        this.philox = new Philox(recipe.seed());
    }

    /// Opens the prompts and the reward of a recipe with trajectories.
    ///
    /// @param files the model that training starts from
    /// @param policy the networks in training; the caller keeps ownership, as of the encoder
    /// @param peers processes that share the rollouts and their pairs; the caller keeps ownership
    /// @throws IllegalArgumentException when the model or the reward does not suit
    /// @throws IOException when a file cannot be read
    static Rollout open(Recipe recipe, Engine engine, ModelFiles files, Policy policy, PairEncoder encoder, Peers peers)
            throws IOException {
        return new Rollout(
                recipe,
                engine,
                new Trajectories(recipe, engine, files, policy, encoder, peers),
                encoder,
                peers.world());
    }

    @Override
    public Batch batch(long step) throws IOException {
        long end = pool.firstStep + (pool.choices.size() + pairsPerStep - 1L) / pairsPerStep;
        if (step >= end) {
            pool = rolledOut(step);
        }
        int from = Math.toIntExact((step - pool.firstStep) * pairsPerStep);
        int pairs = Math.min(pairsPerStep, pool.choices.size() - from);
        int first = DataCursor.firstPlace(pairs, world.rank(), world.size());
        List<Trajectories.Choice> chosen =
                pool.choices.subList(from + first, from + DataCursor.firstPlace(pairs, world.rank() + 1, world.size()));
        List<String> ids = chosen.stream()
                .map(choice -> "prompt " + choice.prompt() + ", sampling step " + choice.step())
                .toList();
        List<Map<String, Object>> events = step == pool.firstStep
                ? pool.summaries.stream().map(Summary::event).toList()
                : List.of();
        return new Batch(chosen.isEmpty() ? null : latents(chosen, first, pairs), ids, List.of(), events);
    }

    /// Rolls out until there are choices. Changes nothing when it is interrupted.
    private Pool rolledOut(long step) throws IOException {
        List<Summary> summaries = new ArrayList<>();
        long rollout = pool.nextRollout;
        long start = System.nanoTime();
        while (true) {
            Trajectories.Result result = trajectories.roll(rollout);
            summaries.add(Summary.of(rollout, result));
            List<Trajectories.Choice> choices = result.choices();
            if (!choices.isEmpty()) {
                int[] order = philox.permutation(Purpose.ROLLOUT_ORDER, rollout, choices.size());
                List<Trajectories.Choice> shuffled =
                        Arrays.stream(order).mapToObj(choices::get).toList();
                generation = new Generation(
                        generation.seconds() + (System.nanoTime() - start) / 1e9, generation.pairs() + choices.size());
                return new Pool(step, rollout + 1, shuffled, summaries);
            }
            if (summaries.size() == MOST_EMPTY) {
                throw new IOException("trajectory: no pair of "
                        + summaries.stream().mapToLong(Summary::compared).sum() * recipe.candidates()
                        + " candidates above min_preference " + recipe.minPreference()
                        + ": the reward's temperature (" + recipe.temperature()
                        + ") may be too high; the median difference of scores is " + result.medianDifference());
            }
            rollout++;
        }
    }

    /// @param first place of the first pair in the global batch
    /// @param all number of pairs of the global batch
    private PairLatents latents(List<Trajectories.Choice> chosen, int first, int all) throws IOException {
        int pairs = chosen.size();
        int[] timesteps = new int[2 * pairs];
        Arrays.setAll(
                timesteps, i -> trajectories.timestep(chosen.get(i % pairs).step()));
        long[] items = new long[2 * pairs];
        Arrays.setAll(items, i -> first + (i < pairs ? i : all + i - pairs));
        double[] scales = chosen.stream()
                .mapToDouble(one -> trajectories.logitScale(one.step()))
                .toArray();
        List<String> captions = chosen.stream()
                .map(choice -> trajectories.prompts().get(choice.prompt()))
                .toList();
        Closer made = new Closer();
        try {
            SamplerInputs.Condition condition = made.add(encoder.condition(captions));
            PairBatchInputs.Guidance guidance = null;
            if (recipe.guidanceScale() != 1) {
                SamplerInputs.Condition negative = made.add(encoder.unconditional(pairs));
                guidance = new PairBatchInputs.Guidance(
                        recipe.guidanceScale(), negative.encoderHiddenStates(), negative.textEmbeds());
                if (negative.timeIds() != null) {
                    negative.timeIds().close();
                }
            }
            DeviceTensor noised =
                    made.add(engine.fromHost(joined(chosen, Trajectories.Choice::noised), encoder.latentShape(pairs)));
            float[] winners = joined(chosen, Trajectories.Choice::winner);
            float[] losers = joined(chosen, Trajectories.Choice::loser);
            float[] targets = Arrays.copyOf(winners, 2 * winners.length);
            System.arraycopy(losers, 0, targets, winners.length, losers.length);
            DeviceTensor target = made.add(engine.fromHost(targets, encoder.latentShape(2 * pairs)));
            return new PairLatents(
                    null,
                    condition.encoderHiddenStates(),
                    condition.textEmbeds(),
                    condition.timeIds(),
                    timesteps,
                    null,
                    null,
                    items,
                    false,
                    null,
                    new PairLatents.Given(noised, target, scales, guidance),
                    null);
        } catch (IOException | RuntimeException e) {
            made.closeAfter(e);
            throw e;
        }
    }

    private static float[] joined(List<Trajectories.Choice> choices, Function<Trajectories.Choice, float[]> part) {
        int size = part.apply(choices.getFirst()).length;
        float[] all = new float[choices.size() * size];
        for (int i = 0; i < choices.size(); i++) {
            System.arraycopy(part.apply(choices.get(i)), 0, all, i * size, size);
        }
        return all;
    }

    @Override
    public Batch heldOutBatch(int from, int count) {
        return Batch.none();
    }

    @Override
    public int trainingPairs() {
        return trajectories.prompts().size();
    }

    @Override
    public int heldOutPairs() {
        return 0;
    }

    @Override
    public Generation generation() {
        return generation;
    }

    @Override
    public Map<String, Object> identity() throws IOException {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("prompts_sha256", Digest.sha256(recipe.prompts()));
        all.put("reward_digest", trajectories.reward().digest());
        all.put("reward_preprocessing", trajectories.reward().preprocessing());
        return Map.of("trajectory", all);
    }

    @Override
    public void save(Path checkpoint) throws IOException {
        List<Trajectories.Choice> choices = pool.choices;
        Map<String, Object> state = new LinkedHashMap<>();
        state.put("first_step", pool.firstStep);
        state.put("next_rollout", pool.nextRollout);
        state.put(
                "prompts",
                choices.stream().map(choice -> (long) choice.prompt()).toList());
        state.put("steps", choices.stream().map(choice -> (long) choice.step()).toList());
        state.put("summaries", pool.summaries.stream().map(Summary::json).toList());
        Map<String, FloatTensor> tensors = new LinkedHashMap<>();
        if (!choices.isEmpty()) {
            long[] shape = encoder.latentShape(choices.size());
            tensors.put("noised", FloatTensor.of(joined(choices, Trajectories.Choice::noised), shape));
            tensors.put("winner", FloatTensor.of(joined(choices, Trajectories.Choice::winner), shape));
            tensors.put("loser", FloatTensor.of(joined(choices, Trajectories.Choice::loser), shape));
        }
        FloatTensor.writeAll(checkpoint.resolve(FILE), tensors, Map.of("rollout", Json.canonical(state)));
    }

    @Override
    public void restore(Path checkpoint) throws IOException {
        Path path = checkpoint.resolve(FILE);
        JsonObject state;
        try (Safetensors file = Safetensors.open(path)) {
            state = Json.parseObject(path.toString(), file.metadata().getOrDefault("rollout", "{}"));
        }
        Map<String, FloatTensor> tensors = FloatTensor.readAll(path);
        List<Long> prompts = state.integers("prompts");
        List<Long> steps = state.integers("steps");
        List<Summary> summaries = new ArrayList<>();
        for (JsonObject summary : state.objects("summaries")) {
            summaries.add(Summary.read(summary));
        }
        pool = new Pool(
                state.integer("first_step"),
                state.integer("next_rollout"),
                IntStream.range(0, prompts.size())
                        .mapToObj(i -> new Trajectories.Choice(
                                Math.toIntExact(prompts.get(i)),
                                Math.toIntExact(steps.get(i)),
                                row(tensors, "noised", i),
                                row(tensors, "winner", i),
                                row(tensors, "loser", i)))
                        .toList(),
                summaries);
    }

    private static float[] row(Map<String, FloatTensor> tensors, String name, int row) {
        FloatTensor all = tensors.get(name);
        int size = all.values().length / Math.toIntExact(all.sizes()[0]);
        return Arrays.copyOfRange(all.values(), row * size, (row + 1) * size);
    }

    @Override
    public void close() {
        trajectories.close();
    }
}
