package org.smpo.schedule;

/// Coefficients of forward diffusion for a batch of rows: noised latents and training target of each row at its
/// own timestep,
///
/// ```text
/// x      = sample x0 + noise n                  n = N(0, 1)
/// target = targetSample x0 + targetNoise n      the noise, v, or x0: what the model predicts
/// ```
///
/// Immutable.
public final class ForwardProcess {
    private final double[] sample;
    private final double[] noise;
    private final double[] targetSample;
    private final double[] targetNoise;

    /// Plans one row for each entry of `timesteps`.
    ///
    /// @param timesteps training timestep of each row, in `[0, trainTimesteps)`
    public static ForwardProcess of(NoiseSchedule schedule, int[] timesteps) {
        return new ForwardProcess(schedule, timesteps);
    }

    private ForwardProcess(NoiseSchedule schedule, int[] timesteps) {
        int rows = timesteps.length;
        sample = new double[rows];
        noise = new double[rows];
        targetSample = new double[rows];
        targetNoise = new double[rows];
        for (int row = 0; row < rows; row++) {
            double alpha = schedule.alphaCumprod(timesteps[row]);
            sample[row] = Math.sqrt(alpha);
            noise[row] = Math.sqrt(1 - alpha);
            switch (schedule.predictionType()) {
                case EPSILON -> targetNoise[row] = 1;
                case V_PREDICTION -> {
                    targetSample[row] = -noise[row];
                    targetNoise[row] = sample[row];
                }
                case SAMPLE -> targetSample[row] = 1;
            }
        }
    }

    /// Number of rows.
    public int rows() {
        return sample.length;
    }

    /// A copy of all rows' coefficients of x0 in the noised latents.
    public double[] sampleCoefficients() {
        return sample.clone();
    }

    /// A copy of all rows' coefficients of the noise in the noised latents.
    public double[] noiseCoefficients() {
        return noise.clone();
    }

    /// A copy of all rows' coefficients of x0 in the target.
    public double[] targetSampleCoefficients() {
        return targetSample.clone();
    }

    /// A copy of all rows' coefficients of the noise in the target.
    public double[] targetNoiseCoefficients() {
        return targetNoise.clone();
    }
}
