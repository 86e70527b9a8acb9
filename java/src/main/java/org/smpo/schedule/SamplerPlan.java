package org.smpo.schedule;

/// Coefficients of a sampling run. Every [Sampler] is a linear multistep rule, so one loop runs them all:
///
/// ```
/// x = initialNoiseScale N(0, 1)
/// for each step i:
///   out     = UNet(inputScale x, timestep)
///   h[0]    = historySample x + historyOutput out       // earlier entries move to h[1], h[2], h[3]
///   x'      = sample x + saved s + sum over j of history(j) h[j] + noise N(0, 1)
///   if saves: s = x
///   if not keeps: h[0] is removed from the history
///   h[1], ..., h[drops] are removed as well
///   x       = x'
/// ```
///
/// The history holds what the rule is linear in: the clean latents it predicts for DPM-Solver++ and UniPC (their
/// conversion belongs to the step where they were predicted), the raw output for the others. `saves`, `keeps` and
/// `drops` serve PNDM: several evaluations refine a step from the same latents, and the outputs of all but the
/// first do not stay in the history. Coefficients at a step's index beyond the steps taken so far are 0 and so is
/// `saved` before anything was saved. Immutable.
///
/// Float64 throughout; diffusers' tables and levels are float32.
public final class SamplerPlan {
    /// Number of history entries that a step can read, including its own.
    public static final int MAX_HISTORY = 4;

    private final Sampler sampler;
    private final double initialNoiseScale;
    final double[] timestep;
    final double[] inputScale;
    final double[] historySample;
    final double[] historyOutput;
    final double[] sample;
    final double[] saved;
    final double[] history;
    final double[] noise;
    final boolean[] saves;
    final boolean[] keeps;
    final int[] drops;

    /// Plans a run of `steps` steps; see [#steps()] for the number of UNet evaluations.
    ///
    /// @throws IllegalArgumentException if the sampler cannot run on this schedule or with so many steps
    public static SamplerPlan of(NoiseSchedule schedule, Sampler sampler, int steps) {
        TimestepSpacing.checkCount(schedule.trainTimesteps(), steps);
        return sampler.plan(schedule, steps);
    }

    /// A plan whose rows the sampler fills: the UNet gets the latents as they are, and its output is the history.
    SamplerPlan(Sampler sampler, int steps, double initialNoiseScale) {
        this.sampler = sampler;
        this.initialNoiseScale = initialNoiseScale;
        timestep = new double[steps];
        inputScale = new double[steps];
        historySample = new double[steps];
        historyOutput = new double[steps];
        sample = new double[steps];
        saved = new double[steps];
        history = new double[steps * MAX_HISTORY];
        noise = new double[steps];
        saves = new boolean[steps];
        keeps = new boolean[steps];
        drops = new int[steps];
        for (int i = 0; i < steps; i++) {
            inputScale[i] = 1;
            historyOutput[i] = 1;
            keeps[i] = true;
        }
    }

    /// Makes the history of a row hold the clean latents that the UNet predicts, for latents of power 1 at a level
    /// of sigma (noise over signal).
    void keepCleanLatents(int row, double sigma, PredictionType predictionType) {
        double signal = 1 / Math.sqrt(sigma * sigma + 1);
        switch (predictionType) {
            case EPSILON -> {
                historySample[row] = 1 / signal;
                historyOutput[row] = -sigma;
            }
            case V_PREDICTION -> {
                historySample[row] = signal;
                historyOutput[row] = -sigma * signal;
            }
            case SAMPLE -> {
                historySample[row] = 0;
                historyOutput[row] = 1;
            }
        }
    }

    public Sampler sampler() {
        return sampler;
    }

    /// Number of UNet evaluations.
    public int steps() {
        return timestep.length;
    }

    /// Factor of the standard normal that gives the first latents.
    public double initialNoiseScale() {
        return initialNoiseScale;
    }

    /// The timestep that the UNet gets; between two training timesteps for Euler with linspace spacing or
    /// Karras sigmas.
    public double timestep(int step) {
        return timestep[step];
    }

    public double inputScale(int step) {
        return inputScale[step];
    }

    public double historySampleCoefficient(int step) {
        return historySample[step];
    }

    public double historyOutputCoefficient(int step) {
        return historyOutput[step];
    }

    public double sampleCoefficient(int step) {
        return sample[step];
    }

    public double savedCoefficient(int step) {
        return saved[step];
    }

    /// The weight of an entry of the history.
    ///
    /// @param back 0 for the step's own entry, up to `MAX_HISTORY - 1`
    public double historyCoefficient(int step, int back) {
        if (back < 0 || back >= MAX_HISTORY) {
            throw new IndexOutOfBoundsException("back: expected 0 to " + (MAX_HISTORY - 1) + ", got " + back);
        }
        return history[step * MAX_HISTORY + back];
    }

    public double noiseCoefficient(int step) {
        return noise[step];
    }

    /// Factor of a step with noise that makes differences of errors logarithms of ratios of
    /// probabilities: B² / (2 s²), where the step is x' = A x + B out + s N(0, 1). With the target (x'
    /// − A x) / B of a given x', and probabilities as means over a latent's elements, log π(x'|x) − log
    /// π_ref(x'|x) is this factor times the difference between the reference's mean squared error and
    /// the policy's.
    public double logRatioScale(int step) {
        double ratio = historyOutput[step] * history[step * MAX_HISTORY] / noise[step];
        return ratio * ratio / 2;
    }

    /// Whether the latents before the step are saved for a later one.
    public boolean saves(int step) {
        return saves[step];
    }

    /// Whether the step's entry stays in the history.
    public boolean keeps(int step) {
        return keeps[step];
    }

    /// Number of older entries, from `h[1]` on, that are removed from the history after the step.
    public int drops(int step) {
        return drops[step];
    }
}
