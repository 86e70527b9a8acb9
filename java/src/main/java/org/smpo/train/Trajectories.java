package org.smpo.train;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.DataCursor;
import org.smpo.data.PairUse;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.NativeSampler;
import org.smpo.ffi.SamplerInputs;
import org.smpo.generate.PromptFile;
import org.smpo.io.DType;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.objective.BestWorst;
import org.smpo.parallel.Frames;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.TrajectoryRecipe;
import org.smpo.reward.Reward;
import org.smpo.reward.Rewards;
import org.smpo.schedule.CleanLatents;
import org.smpo.schedule.Ddim;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.SamplerPlan;

/// Trajectories of the policy from prompts, with several candidates for some of their steps. A reward
/// scores the images that the candidates' clean latents decode to. Belongs to the engine's thread.
///
/// Trajectory b of rollout r, which has B of them, has the noise of items (r B + b) 64 + k: k is 0 for
/// first latents and plain steps, and the number of a candidate.
final class Trajectories implements AutoCloseable {
    private final Engine engine;
    private final TrajectoryRecipe recipe;
    private final NoiseSchedule schedule;
    private final SamplerPlan plan;
    private final NativeModel policy;
    private final PairEncoder encoder;
    private final List<String> prompts;
    private final Peers peers;
    private final DataCursor cursor;
    private final Philox philox;
    private final Reward reward;
    private final Optional<WinnerGuide> guide;

    /// A choice between two candidates for a step.
    ///
    /// @param prompt index of the prompt
    /// @param step sampling step, from 0
    /// @param noised latents before the step
    /// @param winner target of the better candidate
    /// @param loser target of the worse candidate
    @SuppressWarnings("ArrayRecordComponent") // moved from the device to a file and back, never compared
    record Choice(int prompt, int step, float[] noised, float[] winner, float[] loser) {}

    /// The choices of a rollout.
    ///
    /// @param choices those above the smallest preference, in the order of steps
    /// @param differences difference of the best and the worst score of every comparison
    /// @param scores scores of the final images
    /// @param guided moves of winners; empty without a guide
    @SuppressWarnings("ArrayRecordComponent") // an intermediate result, never compared
    record Result(List<Choice> choices, double[] differences, double[] scores, Optional<WinnerGuide.Guided> guided) {
        /// The median difference of scores.
        double medianDifference() {
            double[] sorted = differences.clone();
            Arrays.sort(sorted);
            int half = sorted.length / 2;
            return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
        }

        /// The mean score of the final images.
        double meanScore() {
            return Arrays.stream(scores).average().orElseThrow();
        }

        /// Puts the results of processes that had consecutive trajectories together.
        static Result merged(List<Result> all) {
            return new Result(
                    all.stream()
                            .flatMap(one -> one.choices.stream())
                            .sorted(Comparator.comparingInt(Choice::step))
                            .toList(),
                    all.stream()
                            .flatMapToDouble(one -> Arrays.stream(one.differences))
                            .toArray(),
                    all.stream()
                            .flatMapToDouble(one -> Arrays.stream(one.scores))
                            .toArray(),
                    all.stream().flatMap(one -> one.guided.stream()).reduce(WinnerGuide.Guided::plus));
        }

        byte[] bytes() {
            return Frames.write(out -> {
                out.writeInt(choices.size());
                for (Choice choice : choices) {
                    out.writeInt(choice.prompt());
                    out.writeInt(choice.step());
                    Frames.floats(out, choice.noised());
                    Frames.floats(out, choice.winner());
                    Frames.floats(out, choice.loser());
                }
                Frames.doubles(out, differences);
                Frames.doubles(out, scores);
                Frames.doubles(out, guided.map(WinnerGuide.Guided::numbers).orElse(new double[0]));
            });
        }

        static Result of(byte[] bytes) {
            return Frames.read(bytes, in -> {
                List<Choice> choices = new ArrayList<>();
                for (int left = in.readInt(); left > 0; left--) {
                    choices.add(new Choice(
                            in.readInt(), in.readInt(), Frames.floats(in), Frames.floats(in), Frames.floats(in)));
                }
                return new Result(
                        choices, Frames.doubles(in), Frames.doubles(in), WinnerGuide.Guided.of(Frames.doubles(in)));
            });
        }
    }

    /// @param files the model that training starts from
    /// @param encoder encoders of the model; the caller keeps ownership, as of the policy
    /// @param peers processes that share the prompts of a rollout; the caller keeps ownership
    /// @throws IllegalArgumentException when the model's schedule or the reward does not suit
    /// @throws IOException when the prompts or the reward cannot be read
    Trajectories(Recipe recipe, Engine engine, ModelFiles files, Policy policy, PairEncoder encoder, Peers peers)
            throws IOException {
        this.peers = peers;
        this.engine = engine;
        this.recipe = recipe.trajectory().orElseThrow();
        this.schedule = files.schedule();
        Ddim own = Ddim.fromConfig(files.samplerConfig(), this.recipe.eta());
        // The last step ends at the level of timestep 0, as in SPO's code; at level 1 it would have no noise.
        this.plan = SamplerPlan.of(
                schedule, new Ddim(own.timestepSpacing(), own.stepsOffset(), false, own.eta()), this.recipe.steps());
        requireSignal(plan);
        this.policy = policy.networks().policy();
        this.encoder = encoder;
        this.prompts = PromptFile.read(this.recipe.prompts()).stream()
                .map(Prompt::text)
                .toList();
        World world = peers.world();
        if (this.recipe.promptsPerRollout() < world.size()) {
            throw new IllegalArgumentException("trajectory.prompts_per_rollout: expected at least " + world.size()
                    + ", one for each process, found " + this.recipe.promptsPerRollout()
                    + "; raise it, or start fewer processes");
        }
        this.cursor = new DataCursor(
                IntStream.range(0, prompts.size()).toArray(),
                0,
                recipe.seed(),
                world.rank(),
                world.size(),
                Optional.empty());
        this.philox = new Philox(recipe.seed());
        try {
            this.reward = Rewards.open(engine, this.recipe.reward());
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("trajectory.reward: " + e.getMessage(), e);
        }
        try {
            this.guide = this.recipe
                    .guide()
                    .map(moves -> new WinnerGuide(
                            moves, engine, encoder, policy.unet(), this.recipe.guidanceScale(), reward));
        } catch (IllegalArgumentException e) {
            reward.close();
            throw e;
        }
    }

    private static void requireSignal(SamplerPlan plan) {
        for (int step = 0; step < plan.steps(); step++) {
            if (!Double.isFinite(plan.sampleCoefficient(step)) || !Double.isFinite(plan.logRatioScale(step))) {
                throw new IllegalArgumentException("trajectory: expected a schedule whose levels all have some signal,"
                        + " found pure noise at timestep " + (int) plan.timestep(step)
                        + "; use a model without zero terminal SNR");
            }
        }
    }

    /// The prompts.
    List<String> prompts() {
        return prompts;
    }

    /// The reward.
    Reward reward() {
        return reward;
    }

    /// Training timestep of a sampling step.
    int timestep(int step) {
        return (int) plan.timestep(step);
    }

    /// Factor that turns differences of errors at a step into log ratios.
    double logitScale(int step) {
        return plan.logRatioScale(step);
    }

    /// Generates the trajectories of a rollout with the policy as it is, on all processes together.
    ///
    /// @param rollout number of the rollout, from 0
    /// @return the choices of all processes, in the order of one
    /// @throws IOException when a prompt cannot be encoded or an image has no finite score
    /// @throws org.smpo.ffi.CancelledException after [Engine#cancel()]
    Result roll(long rollout) throws IOException {
        Result own = rollOwn(rollout);
        return peers.world().size() == 1
                ? own
                : Result.merged(
                        peers.exchange(own.bytes()).stream().map(Result::of).toList());
    }

    private Result rollOwn(long rollout) throws IOException {
        int all = recipe.promptsPerRollout();
        int[] chosen =
                cursor.batch(rollout, all).stream().mapToInt(PairUse::pair).toArray();
        int images = chosen.length;
        // Number of this process's first trajectory among those of all rollouts.
        long first = rollout * all + cursor.firstPlace(all);
        List<String> captions = Arrays.stream(chosen).mapToObj(prompts::get).toList();
        long[] items = new long[images];
        Arrays.setAll(items, b -> (first + b) * TrajectoryRecipe.MAX_CANDIDATES);
        List<Integer> compared = compared(rollout);
        int moves = guide.isEmpty() ? 0 : recipe.guide().orElseThrow().rows().orElse(compared.size());
        boolean guided = recipe.guidanceScale() != 1;
        Comparisons comparisons = new Comparisons(rollout, first, chosen, captions, items);
        try (DeviceTensor noise = engine.zeros(DType.F32, encoder.latentShape(images));
                SamplerInputs.Condition condition = encoder.condition(captions);
                SamplerInputs.Condition negative = guided ? encoder.unconditional(images) : null) {
            noise.fillNormal(Purpose.INITIAL_LATENTS.code(), 0, items);
            SamplerInputs inputs = new SamplerInputs(
                    noise,
                    condition,
                    negative,
                    recipe.guidanceScale(),
                    0,
                    Arrays.stream(items).boxed().toList(),
                    new SamplerInputs.NegativeNetwork.Same());
            try (NativeSampler sampler = NativeSampler.open(policy, plan, inputs)) {
                for (int step = 0; step < plan.steps(); step++) {
                    int place = compared.indexOf(step);
                    if (place >= 0) {
                        comparisons.compare(sampler, step, place < moves);
                    } else {
                        sampler.step(1);
                    }
                }
                try (DeviceTensor latents = sampler.latents()) {
                    return comparisons.result(latents.toFloats());
                }
            }
        }
    }

    /// The compared steps of a rollout in random order.
    private List<Integer> compared(long rollout) {
        int from = recipe.firstStep();
        int candidates = recipe.endOfCompared() - from;
        return Arrays.stream(philox.permutation(Purpose.TRAJECTORY_STEPS, rollout, candidates))
                .limit(recipe.comparedSteps().orElse(candidates))
                .mapToObj(step -> from + step)
                .toList();
    }

    /// The smallest preference of a pair of a step.
    private double minPreference(int step) {
        return recipe.minPreference().at(sigma(step), sigma(plan.steps() - 1), sigma(0));
    }

    private double sigma(int step) {
        return Math.sqrt(1 - schedule.alphaCumprod(timestep(step)));
    }

    /// The comparisons of one rollout.
    private final class Comparisons {
        private final long rollout;
        private final long first;
        private final int[] chosen;
        private final List<String> captions;
        private final long[] items;
        private final List<Choice> choices = new ArrayList<>();
        private final List<Double> differences = new ArrayList<>();
        private int tried;
        private int kept;
        private double risen;
        private double gap;
        private long nanos;

        Comparisons(long rollout, long first, int[] chosen, List<String> captions, long[] items) {
            this.rollout = rollout;
            this.first = first;
            this.chosen = chosen;
            this.captions = captions;
            this.items = items;
        }

        /// Takes a step with candidates.
        ///
        /// @param guided whether winners are moved
        void compare(NativeSampler sampler, int step, boolean guided) throws IOException {
            int images = items.length;
            int candidates = recipe.candidates();
            long[] noises = new long[candidates * images];
            Arrays.setAll(noises, i -> items[i % images] + i / images);
            CleanLatents clean = step + 1 < plan.steps() ? CleanLatents.of(schedule, timestep(step + 1)) : null;
            float[] cleanLatents;
            try (DeviceTensor latents = sampler.fork(noises, clean)) {
                cleanLatents = latents.toFloats();
            }
            double[] scores = scores(cleanLatents, candidates, "step " + step);
            BestWorst[] found = new BestWorst[images];
            int[] winner = new int[images];
            int[] loser = new int[images];
            int[] next = new int[images];
            for (int b = 0; b < images; b++) {
                int image = b;
                found[b] = BestWorst.of(IntStream.range(0, candidates)
                        .mapToDouble(k -> scores[k * images + image])
                        .toArray());
                differences.add(found[b].difference());
                boolean kept = found[b].preference(recipe.temperature()) > minPreference(step);
                winner[b] = kept ? found[b].best() : -1;
                loser[b] = kept ? found[b].worst() : -1;
            }
            if (guided && Arrays.stream(winner).anyMatch(candidate -> candidate >= 0)) {
                move(sampler, step, clean, cleanLatents, scores, found, winner);
            }
            for (int b = 0; b < images; b++) {
                next[b] = switch (recipe.continuation()) {
                    case WINNER -> winner[b] >= 0 ? winner[b] : found[b].best();
                    case RANDOM -> philox.uniformInt(Purpose.CONTINUATION, step, first + b, candidates);
                };
            }
            keep(sampler, step, winner, loser);
            sampler.select(next);
        }

        /// Moves winners along the gradient of their scores. A winner whose score has risen is replaced by the
        /// candidate that it became.
        private void move(
                NativeSampler sampler,
                int step,
                CleanLatents clean,
                float[] cleanLatents,
                double[] scores,
                BestWorst[] found,
                int[] winner)
                throws IOException {
            long start = System.nanoTime();
            int images = items.length;
            int all = scores.length;
            int[] from = Arrays.stream(found).mapToInt(BestWorst::best).toArray();
            float[] latents;
            try (DeviceTensor taken = sampler.candidate(from)) {
                latents = taken.toFloats();
            }
            int size = latents.length / images;
            float[] moves = new float[latents.length];
            for (int b = 0; b < images; b++) {
                if (winner[b] < 0) {
                    continue;
                }
                WinnerGuide.Candidate candidate = new WinnerGuide.Candidate(
                        captions.get(b),
                        row(latents, b, images),
                        row(cleanLatents, from[b] * images + b, all),
                        step + 1 < plan.steps() ? timestep(step + 1) : 0,
                        clean);
                try {
                    float[] one = guide.orElseThrow().move(candidate, plan.noiseCoefficient(step));
                    System.arraycopy(one, 0, moves, b * size, size);
                } catch (ArithmeticException e) {
                    throw failure("step " + step, captions.get(b), e);
                }
            }
            float[] moved;
            try (DeviceTensor move = engine.fromHost(moves, encoder.latentShape(images));
                    DeviceTensor predicted = sampler.addMoved(from, move)) {
                moved = predicted.toFloats();
            }
            for (int b = 0; b < images; b++) {
                if (winner[b] < 0) {
                    continue;
                }
                double rise =
                        score(row(moved, b, images), captions.get(b), "step " + step) - scores[from[b] * images + b];
                tried++;
                gap += found[b].difference();
                if (rise > 0) {
                    winner[b] = recipe.candidates();
                    kept++;
                    risen += rise;
                }
            }
            nanos += System.nanoTime() - start;
        }

        private void keep(NativeSampler sampler, int step, int[] winner, int[] loser) {
            int[] trained = IntStream.range(0, winner.length)
                    .filter(b -> winner[b] >= 0)
                    .toArray();
            if (trained.length == 0) {
                return;
            }
            try (NativeSampler.Pairs pairs = sampler.pairs(winner, loser)) {
                float[] noised = pairs.noised().toFloats();
                float[] target = pairs.target().toFloats();
                for (int i = 0; i < trained.length; i++) {
                    choices.add(new Choice(
                            chosen[trained[i]],
                            step,
                            row(noised, i, trained.length),
                            row(target, i, 2 * trained.length),
                            row(target, trained.length + i, 2 * trained.length)));
                }
            }
        }

        /// Scores of latents for the captions, which repeat for each of the candidates.
        private double[] scores(float[] latents, int candidates, String where) throws IOException {
            double[] scores = new double[candidates * captions.size()];
            for (int i = 0; i < scores.length; i++) {
                scores[i] = score(row(latents, i, scores.length), captions.get(i % captions.size()), where);
            }
            return scores;
        }

        private double score(float[] latents, String caption, String where) throws IOException {
            RgbImage image = encoder.decode(latents);
            try {
                return reward.score(List.of(caption), List.of(image))[0];
            } catch (ArithmeticException e) {
                throw failure(where, caption, e);
            }
        }

        private IOException failure(String where, String caption, ArithmeticException e) {
            return new IOException(
                    "trajectory.reward: rollout " + rollout + ", " + where + ", prompt \"" + caption + "\": "
                            + e.getMessage(),
                    e);
        }

        Result result(float[] finalLatents) throws IOException {
            return new Result(
                    choices,
                    differences.stream().mapToDouble(Double::doubleValue).toArray(),
                    scores(finalLatents, 1, "final image"),
                    guide.map(moves -> new WinnerGuide.Guided(tried, kept, risen, gap, nanos / 1e9)));
        }
    }

    private static float[] row(float[] all, int row, int rows) {
        int size = all.length / rows;
        return Arrays.copyOfRange(all, row * size, (row + 1) * size);
    }

    @Override
    public void close() {
        reward.close();
    }
}
