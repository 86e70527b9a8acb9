package org.smpo.schedule;

/// Coefficients of truncated rollouts for a batch of rows: each row is noised to its start, moved down
/// by DDIM without fresh noise, and noised again to its training timestep s, where the target is the
/// clean latents that the network predicts at the end of the rollout.
///
/// ```
/// x      = startSample x0 + startNoise N(0, 1)                                  at the level of the
/// start x'     = sample x + output out                                                for each step of
/// the rollout x'     = sample x + noise n                                                   for the
/// last one, n = N(0, 1) target = targetSample x' + targetOutput out + targetNoise n
/// with the last step's out and n
/// ```
///
/// With α = sqrt(alphaCumprod), σ = sqrt(1 − alphaCumprod) and ν = σ/α, the last step takes latents from
/// the level t of the rollout's end to that of s by forward diffusion: x' = (α_s/α_t) x + α_s sqrt(ν_s²
/// − ν_t²) n. That is forward diffusion of the predicted clean latents x̂0 with the noise ε* = (ν_t/ν_s)
/// e + sqrt(1 − ν_t²/ν_s²) n, where e is the predicted noise. The target is what the model predicts at s
/// for x̂0 and ε*: ε*, v, or x̂0.
///
/// Rows are images. Immutable. Source: Self-NPO (arXiv 2505.11777).
public final class RolloutPlan implements LatentSteps {
    private final int rows;
    private final int[] rowStart;
    private final double[] startSample;
    private final double[] startNoise;
    private final double[] targetSample;
    private final double[] targetOutput;
    private final double[] targetNoise;
    private final int[] timestep;
    private final double[] sample;
    private final double[] output;
    private final double[] noise;

    /// Plans one row for each start.
    ///
    /// @param starts timestep from which each row's rollout starts, a point of the grid
    /// @param timesteps training timestep of each row, above the end of its rollout
    /// @throws IllegalArgumentException when the schedule does not suit, or a timestep is out of range
    public static RolloutPlan of(NoiseSchedule schedule, TruncatedRollout rollout, int[] starts, int[] timesteps) {
        return new RolloutPlan(schedule, rollout, starts, timesteps);
    }

    private RolloutPlan(NoiseSchedule schedule, TruncatedRollout rollout, int[] starts, int[] timesteps) {
        rollout.requireFits(schedule);
        int train = schedule.trainTimesteps();
        rows = starts.length;
        rowStart = new int[rows + 1];
        for (int row = 0; row < rows; row++) {
            int reached = rollout.end(train, starts[row]);
            if (starts[row] < 0 || starts[row] >= train || timesteps[row] <= reached || timesteps[row] >= train) {
                throw new IllegalArgumentException("timesteps[" + row + "]: expected " + (reached + 1) + " to "
                        + (train - 1) + ", after a rollout from " + starts[row] + ", got " + timesteps[row]);
            }
            int steps = 1;
            for (int t = starts[row]; t > reached; t = rollout.below(train, t)) {
                steps++;
            }
            rowStart[row + 1] = rowStart[row] + steps;
        }
        startSample = new double[rows];
        startNoise = new double[rows];
        targetSample = new double[rows];
        targetOutput = new double[rows];
        targetNoise = new double[rows];
        timestep = new int[rowStart[rows]];
        sample = new double[rowStart[rows]];
        output = new double[rowStart[rows]];
        noise = new double[rowStart[rows]];
        for (int row = 0; row < rows; row++) {
            double first = schedule.alphaCumprod(starts[row]);
            startSample[row] = Math.sqrt(first);
            startNoise[row] = Math.sqrt(1 - first);
            int t = starts[row];
            int last = rowStart[row + 1] - 1;
            for (int k = rowStart[row]; k < last; k++) {
                int next = rollout.below(train, t);
                LevelChange change = LevelChange.of(
                        schedule.alphaCumprod(t), schedule.alphaCumprod(next), schedule.predictionType());
                timestep[k] = t;
                sample[k] = change.a();
                output[k] = change.b();
                t = next;
            }
            timestep[last] = t;
            noiseAgain(schedule, row, last, t, timesteps[row]);
        }
    }

    /// Writes the last step of a row, from the level of t to that of s, and its target.
    private void noiseAgain(NoiseSchedule schedule, int row, int step, int t, int s) {
        double from = schedule.alphaCumprod(t);
        double to = schedule.alphaCumprod(s);
        double signal = Math.sqrt(to);
        double sigma = Math.sqrt(1 - to);
        double ratio = Math.sqrt((1 - from) / from * (to / (1 - to)));
        double rest = Math.sqrt((1 - ratio) * (1 + ratio));
        sample[step] = signal / Math.sqrt(from);
        noise[step] = sigma * rest;
        switch (schedule.predictionType()) {
            case EPSILON -> {
                targetOutput[row] = ratio;
                targetNoise[row] = rest;
            }
            case V_PREDICTION -> {
                // v = α_s ε* − σ_s x̂0 of e = α_t out + σ_t x and x̂0 = α_t x − σ_t out, with x by x' and n.
                double ofSample = signal * ratio * Math.sqrt(1 - from) - sigma * Math.sqrt(from);
                targetSample[row] = ofSample / sample[step];
                targetOutput[row] = signal * ratio * Math.sqrt(from) + sigma * Math.sqrt(1 - from);
                targetNoise[row] = signal * rest - targetSample[row] * noise[step];
            }
            case SAMPLE -> targetOutput[row] = 1;
        }
    }

    public int rows() {
        return rows;
    }

    /// Each row's coefficient of its clean latents at the start.
    public double[] startSampleCoefficients() {
        return startSample.clone();
    }

    /// Each row's coefficient of the noise at the start.
    public double[] startNoiseCoefficients() {
        return startNoise.clone();
    }

    /// Each row's coefficient of the last output in the target.
    public double[] targetOutputCoefficients() {
        return targetOutput.clone();
    }

    /// Each row's coefficient of the last step's noise in the target.
    public double[] targetNoiseCoefficients() {
        return targetNoise.clone();
    }

    @Override
    public int[] rowStarts() {
        return rowStart.clone();
    }

    @Override
    public int[] timesteps() {
        return timestep.clone();
    }

    @Override
    public double[] sampleCoefficients() {
        return sample.clone();
    }

    @Override
    public double[] outputCoefficients() {
        return output.clone();
    }

    @Override
    public double[] noiseCoefficients() {
        return noise.clone();
    }

    @Override
    public boolean[] averages() {
        return new boolean[timestep.length];
    }

    @Override
    public double[] targetSampleCoefficients() {
        return targetSample.clone();
    }

    /// Zero: the clean latents are those that the network predicts.
    @Override
    public double[] targetCleanCoefficients() {
        return new double[rows];
    }
}
