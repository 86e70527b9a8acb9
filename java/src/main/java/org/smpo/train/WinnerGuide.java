package org.smpo.train;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.SamplerInputs;
import org.smpo.ffi.UNetInputs;
import org.smpo.io.Closer;
import org.smpo.network.UNet;
import org.smpo.recipe.GuideRecipe;
import org.smpo.reward.DifferentiableReward;
import org.smpo.reward.Reward;
import org.smpo.reward.RewardGradient;
import org.smpo.schedule.CleanLatents;

/// Moves of a trajectory's winners along the gradient of the reward (TailorPO-G). Belongs to the
/// engine's thread.
final class WinnerGuide {
    private final GuideRecipe recipe;
    private final Engine engine;
    private final PairEncoder encoder;
    private final UNet policy;
    private final double guidanceScale;
    private final RewardGradient gradient;

    /// Moves of a rollout's winners along the gradient of the reward.
    ///
    /// @param tried number of winners for which a move was computed
    /// @param moved number of moves that were kept, since the score rose
    /// @param rise sum of the rises of the score over all tried, 0 where the winner stayed
    /// @param difference sum of the differences of the scores of their pairs before
    /// @param seconds time that the moves took, over all processes
    record Guided(long tried, long moved, double rise, double difference, double seconds) {
        double[] numbers() {
            return new double[] {tried, moved, rise, difference, seconds};
        }

        static Optional<Guided> of(double... numbers) {
            return numbers.length == 0
                    ? Optional.empty()
                    : Optional.of(new Guided((long) numbers[0], (long) numbers[1], numbers[2], numbers[3], numbers[4]));
        }

        /// The same with means in place of the two sums.
        Guided mean() {
            long count = Math.max(1, tried);
            return new Guided(tried, moved, rise / count, difference / count, seconds);
        }

        Guided plus(Guided other) {
            return new Guided(
                    tried + other.tried,
                    moved + other.moved,
                    rise + other.rise,
                    difference + other.difference,
                    seconds + other.seconds);
        }
    }

    /// A candidate, and how its clean latents follow from it.
    ///
    /// @param caption its prompt
    /// @param latents `[C,h,w]`, row-major
    /// @param cleanLatents the clean latents predicted from them
    /// @param timestep timestep at which they are predicted
    /// @param clean coefficients of the prediction; null where the candidate is clean itself
    @SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
    record Candidate(String caption, float[] latents, float[] cleanLatents, int timestep, CleanLatents clean) {}

    /// @param reward the reward; the caller keeps ownership, as of the encoder and the policy
    /// @throws IllegalArgumentException when the reward has no gradient
    WinnerGuide(
            GuideRecipe recipe, Engine engine, PairEncoder encoder, UNet policy, double guidanceScale, Reward reward) {
        if (!(reward instanceof DifferentiableReward differentiable)) {
            throw new IllegalArgumentException("trajectory.guide: expected a reward whose scores have gradients, found "
                    + reward.kind() + "; choose another reward, or set guide to none");
        }
        this.recipe = recipe;
        this.engine = engine;
        this.encoder = encoder;
        this.policy = policy;
        this.guidanceScale = guidanceScale;
        this.gradient = new RewardGradient(differentiable, encoder.vae());
    }

    /// The move of a candidate: strength times the noise of its step, in the direction in which its
    /// score rises.
    ///
    /// @param noise factor of the step's noise
    /// @return of the latents' size; zero where the score has no slope
    /// @throws IOException when the prompt cannot be encoded
    /// @throws ArithmeticException when the gradient is not finite
    float[] move(Candidate candidate, double noise) throws IOException {
        return along(slope(candidate), recipe.strength() * noise);
    }

    /// A move along a slope, whatever the slope's size.
    ///
    /// @param slope overwritten by the move
    /// @param length root mean square of the move's elements
    static float[] along(float[] slope, double length) {
        double sum = 0;
        for (float value : slope) {
            sum += (double) value * value;
        }
        if (!Double.isFinite(sum)) {
            throw new ArithmeticException("the gradient of the score is not finite");
        }
        double factor = sum == 0 ? 0 : length * Math.sqrt(slope.length / sum);
        for (int i = 0; i < slope.length; i++) {
            slope[i] = (float) (factor * slope[i]);
        }
        return slope;
    }

    /// The gradient of the candidate's score, up to a positive factor.
    private float[] slope(Candidate candidate) throws IOException {
        List<String> captions = List.of(candidate.caption());
        if (candidate.clean() == null || !recipe.throughUnet()) {
            try (DeviceTensor clean = engine.fromHost(candidate.cleanLatents(), encoder.latentShape(1))) {
                return gradient.ofClean(captions, clean).gradient();
            }
        }
        Closer made = new Closer();
        try {
            DeviceTensor sample = made.add(engine.fromHost(candidate.latents(), encoder.latentShape(1)));
            DeviceTensor timestep = made.add(engine.fromHost(new float[] {candidate.timestep()}, 1));
            SamplerInputs.Condition prompt = made.add(encoder.condition(captions));
            SamplerInputs.Condition negative = guidanceScale == 1 ? null : made.add(encoder.unconditional(1));
            return gradient.ofSample(
                            captions,
                            policy,
                            new RewardGradient.Prediction(
                                    inputs(sample, timestep, prompt),
                                    negative == null ? null : inputs(sample, timestep, negative),
                                    guidanceScale,
                                    candidate.clean().sample(),
                                    candidate.clean().output()),
                            true)
                    .gradient();
        } finally {
            made.closeUnchecked();
        }
    }

    private static UNetInputs inputs(DeviceTensor sample, DeviceTensor timestep, SamplerInputs.Condition condition) {
        return new UNetInputs(
                sample, timestep, condition.encoderHiddenStates(), condition.textEmbeds(), condition.timeIds());
    }
}
