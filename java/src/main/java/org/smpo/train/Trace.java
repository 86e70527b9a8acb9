package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Device;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.ParameterInfo;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import org.smpo.network.UNet;
import org.smpo.objective.NoiseSource;
import org.smpo.objective.Objective;
import org.smpo.objective.PairInput;
import org.smpo.objective.PairLoss;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.NoiseSchedule;

/// Runs one [PreferenceStep] and returns every intermediate result, for comparing implementations.
///
/// | batch | |
/// |---|---|
/// | `latents_w`, `latents_l` | `[P,4,h,w]`: clean, scaled |
/// | `prompt_embeds` | `[P,S,D]` |
/// | `timesteps` | `[P]`; `[2P]`, winners first, for an objective with a timestep per image |
/// | `p` | `[P]`: smoothed label, where the objective reads one |
/// | `reward_margin` | `[P]`: difference of calibrated rewards, where the objective reads one |
/// | `pooled`, `time_ids` | `[P,E]`, `[P,6]`: SDXL only |
///
/// The result has, for each pair J, `noised_w.J`, `noised_l.J`, `target_w.J`, `target_l.J`, `pred_w.J`,
/// `pred_l.J`, `ref_pred_w.J`, `ref_pred_l.J` `[4,h,w]` and `errors.J` `[4]` = (policy winner, policy
/// loser, reference winner, reference loser); `loss` `[]`, the mean over pairs; and `grad.PARAMETER` of
/// every parameter of the policy.
public final class Trace {
    private Trace() {}

    /// The settings of the step.
    ///
    /// @param inversion the inversion; not read for objectives that add forward noise
    /// @param device `cpu`, `cuda` or `cuda:N`
    /// @param threads CPU threads; 0: one per physical core
    /// @param microBatch number of pairs differentiated at once; 0: all
    /// @param inversionBatch number of images inverted at once; 0: all
    public record Settings(
            Objective objective,
            Inversion inversion,
            String device,
            Precision precision,
            int threads,
            long seed,
            int microBatch,
            int inversionBatch) {
        /// @throws IllegalArgumentException when there is no such device
        public Settings {
            Device.parse(device);
            if (objective.noise() == NoiseSource.GIVEN || objective.noise() == NoiseSource.ROLLOUT) {
                throw new IllegalArgumentException("objective: expected a method that noises latents, got "
                        + objective.name() + ", which takes them from "
                        + (objective.noise() == NoiseSource.GIVEN ? "its own trajectories" : "a teacher's rollouts"));
            }
        }
    }

    /// Runs the step.
    ///
    /// @param model the model with the reference UNet and the schedule
    /// @param policy folder of a UNet or a model; null: the reference's weights
    /// @param batch the tensors above
    /// @throws IllegalArgumentException naming the tensor of the batch that is missing or does not fit
    public static Map<String, FloatTensor> run(
            Path model, Path policy, Map<String, FloatTensor> batch, Settings settings) throws IOException {
        EngineConfig config = EngineConfig.onCpu()
                .withDevice(Device.parse(settings.device()))
                .withThreads(settings.threads())
                .withSeed(settings.seed());
        try (ModelFiles files = openUnet(model);
                ModelFiles policyFiles = openUnet(policy == null ? model : policy);
                Engine engine = Engine.open(config);
                UNet trained = UNet.load(
                        engine,
                        policyFiles.unetOrOnly(),
                        new ModelOptions(settings.precision().dtype(), true, false));
                UNet reference = settings.objective().needsReference()
                        ? UNet.load(
                                engine,
                                files.unetOrOnly(),
                                ModelOptions.frozen(settings.precision().dtype()))
                        : null;
                PairLatents pairs = pairs(engine, batch, settings.objective())) {
            NoiseSchedule schedule = schedule(model, files);
            PreferenceStep step = new PreferenceStep(
                    engine,
                    schedule,
                    PairLoss.of(settings.objective()),
                    settings.inversion(),
                    settings.inversionBatch() == 0 ? 2 * pairs.pairs() : settings.inversionBatch());
            try (PairBatch pairBatch = pairs.open(engine, 0, true)) {
                PairResults results = step.run(
                                pairBatch,
                                pairs,
                                new Networks(trained.network(), reference == null ? null : reference.network(), null),
                                settings.microBatch() == 0 ? pairs.pairs() : settings.microBatch(),
                                pairs.pairs(),
                                true)
                        .pairs();
                return collect(pairBatch, results, trained, reference != null);
            }
        }
    }

    /// Opens only the UNet of a pipeline if it has its own folder, so that the rest may be absent.
    private static ModelFiles openUnet(Path path) throws IOException {
        Path folder = path.resolve("unet");
        return ModelFiles.open(Files.isDirectory(folder) ? folder : path);
    }

    private static NoiseSchedule schedule(Path model, ModelFiles files) throws IOException {
        Path config = model.resolve("scheduler").resolve("scheduler_config.json");
        return Files.isRegularFile(config)
                ? NoiseSchedule.fromConfig(Json.readObject(config).asMap())
                : files.schedule();
    }

    private static PairLatents pairs(Engine engine, Map<String, FloatTensor> batch, Objective objective) {
        FloatTensor winners = tensor(batch, "latents_w", 4, -1);
        long pairs = winners.sizes()[0];
        FloatTensor losers = tensor(batch, "latents_l", 4, pairs);
        if (!losers.shape().equals(winners.shape())) {
            throw new IllegalArgumentException(
                    "batch: latents_l: expected shape " + winners.shape() + " as latents_w, got " + losers.shape());
        }
        FloatTensor prompts = tensor(batch, "prompt_embeds", 3, pairs);
        FloatTensor timesteps = tensor(batch, "timesteps", 1, objective.timestepPerImage() ? 2 * pairs : pairs);
        FloatTensor labels = labels(batch, objective, pairs);
        FloatTensor pooled = batch.containsKey("pooled") ? tensor(batch, "pooled", 2, pairs) : null;
        FloatTensor timeIds = batch.containsKey("time_ids") ? tensor(batch, "time_ids", 2, pairs) : null;
        long[] items = new long[Math.toIntExact(2 * pairs)];
        Arrays.setAll(items, i -> i < pairs ? 2L * i : 2L * (i - pairs) + 1);
        long[] shape = winners.sizes();
        shape[0] = 2 * pairs;
        return new PairLatents(
                engine.fromHost(joined(winners.values(), losers.values()), shape),
                engine.fromHost(prompts.values(), prompts.sizes()),
                pooled == null ? null : engine.fromHost(pooled.values(), pooled.sizes()),
                timeIds == null
                        ? null
                        : engine.fromHost(joined(timeIds.values(), timeIds.values()), 2 * pairs, timeIds.sizes()[1]),
                byImage(integers(timesteps.values()), 2 * (int) pairs),
                labels == null ? null : doubles(labels.values()),
                null,
                items);
    }

    private static FloatTensor labels(Map<String, FloatTensor> batch, Objective objective, long pairs) {
        if (objective.inputs().contains(PairInput.LABEL)) {
            return tensor(batch, "p", 1, pairs);
        }
        return objective.inputs().contains(PairInput.REWARD_MARGIN) ? tensor(batch, "reward_margin", 1, pairs) : null;
    }

    /// Returns one timestep per image: both images of a pair get the pair's timestep, unless each has
    /// its own.
    private static int[] byImage(int[] timesteps, int images) {
        int[] all = Arrays.copyOf(timesteps, images);
        if (timesteps.length < images) {
            System.arraycopy(timesteps, 0, all, timesteps.length, timesteps.length);
        }
        return all;
    }

    private static FloatTensor tensor(Map<String, FloatTensor> batch, String name, int rank, long pairs) {
        FloatTensor tensor = batch.get(name);
        if (tensor == null) {
            throw new IllegalArgumentException("batch: expected a tensor " + name + ", found " + batch.keySet());
        }
        List<Long> shape = tensor.shape();
        if (shape.size() != rank || shape.get(0) < 1 || (pairs >= 0 && shape.get(0) != pairs)) {
            throw new IllegalArgumentException("batch: " + name + ": expected " + rank + " dimensions, the first of "
                    + (pairs < 0 ? "at least 1" : pairs) + ", got " + shape);
        }
        return tensor;
    }

    private static Map<String, FloatTensor> collect(
            PairBatch pairBatch, PairResults results, UNet trained, boolean hasReference) {
        Map<String, FloatTensor> out = new LinkedHashMap<>();
        split(out, pairBatch, PairBatch.Part.NOISED, "noised");
        split(out, pairBatch, PairBatch.Part.TARGET, "target");
        split(out, pairBatch, PairBatch.Part.PREDICTION, "pred");
        if (hasReference) {
            split(out, pairBatch, PairBatch.Part.REFERENCE_PREDICTION, "ref_pred");
        }
        for (int pair = 0; pair < pairBatch.pairs(); pair++) {
            float[] errors = {
                (float) results.policyWinner()[pair],
                (float) results.policyLoser()[pair],
                (float) results.referenceWinner()[pair],
                (float) results.referenceLoser()[pair]
            };
            out.put("errors." + pair, FloatTensor.of(errors, 4));
        }
        out.put("loss", FloatTensor.of(new float[] {(float) results.lossSum()}));
        for (ParameterInfo parameter : trained.network().parameters()) {
            long[] shape = parameter.shape().stream().mapToLong(Long::longValue).toArray();
            out.put("grad." + parameter.name(), FloatTensor.of(trained.network().readGradient(parameter), shape));
        }
        return out;
    }

    private static void split(Map<String, FloatTensor> out, PairBatch pairBatch, PairBatch.Part part, String name) {
        try (DeviceTensor tensor = pairBatch.tensor(part)) {
            float[] values = tensor.toFloats();
            long[] shape = Arrays.copyOfRange(tensor.shape(), 1, 4);
            int size = values.length / (2 * pairBatch.pairs());
            for (int pair = 0; pair < pairBatch.pairs(); pair++) {
                int loser = pairBatch.pairs() + pair;
                out.put(
                        name + "_w." + pair,
                        FloatTensor.of(Arrays.copyOfRange(values, pair * size, (pair + 1) * size), shape));
                out.put(
                        name + "_l." + pair,
                        FloatTensor.of(Arrays.copyOfRange(values, loser * size, (loser + 1) * size), shape));
            }
        }
    }

    private static float[] joined(float[] first, float[] second) {
        float[] all = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, all, first.length, second.length);
        return all;
    }

    private static int[] integers(float[] values) {
        int[] all = new int[values.length];
        for (int i = 0; i < values.length; i++) {
            all[i] = (int) values[i];
            if (all[i] != values[i]) {
                throw new IllegalArgumentException("batch: timesteps: expected whole numbers, got " + values[i]);
            }
        }
        return all;
    }

    private static double[] doubles(float[] values) {
        double[] all = new double[values.length];
        Arrays.setAll(all, i -> values[i]);
        return all;
    }
}
