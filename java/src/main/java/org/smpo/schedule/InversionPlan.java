package org.smpo.schedule;

import java.util.Arrays;

/// Coefficients of DDIM inversion for a batch of rows: for each row, with its own training timestep t,
/// the list of its steps and the coefficients of its target.
///
/// A step k of a row takes the row's latents x to
///
/// ```
/// x' = sampleCoefficient(k) x + outputCoefficient(k) out + noiseCoefficient(k) N(0, 1)
/// ```
///
/// with out = UNet(x, timestep(k)), or, where `averages(k)`, the mean of that and of UNet(x1,
/// timestep(k)), where x1 is the step taken with the first output and no noise. Conversions from v are
/// folded into the coefficients. After the last step the training target is
/// `targetSampleCoefficient(row) x + targetCleanCoefficient(row) x0`: the prediction that would lead
/// from x, taken to be at level t, back to the clean latents x0.
///
/// A row is an image. Steps of all rows lie in flat arrays, row after row: row i's are `rowStart(i)` to
/// `rowStart(i + 1)`, end excluded. Immutable; a plan is built once per batch, at about ten microseconds
/// per thousand steps.
///
/// Sources: DDIMInverseScheduler of diffusers 0.20 and 0.22; the training scripts of SmPO-Diffusion
/// (arXiv 2506.02698) and DDIM-InPO (arXiv 2503.18454).
public final class InversionPlan implements LatentSteps {
    private final Inversion inversion;
    private final int[] trainTimestep;
    private final int[] rowStart;
    private final double[] targetSample;
    private final double[] targetClean;
    private final int[] timestep;
    private final int[] destination;
    private final double[] sampleCoefficient;
    private final double[] outputCoefficient;
    private final double[] noiseCoefficient;
    private final boolean[] averages;

    /// Plans one row for each entry of `timesteps`.
    ///
    /// @param timesteps training timestep of each row, in `[0, trainTimesteps)`
    /// @throws IllegalArgumentException if a timestep is out of range, or the schedule has no such grid
    public static InversionPlan of(NoiseSchedule schedule, Inversion inversion, int[] timesteps) {
        return new InversionPlan(schedule, inversion, timesteps.clone());
    }

    private InversionPlan(NoiseSchedule schedule, Inversion inversion, int[] timesteps) {
        this.inversion = inversion;
        this.trainTimestep = timesteps;
        int rows = timesteps.length;
        Grid grid = new Grid(schedule, inversion);
        boolean exact = inversion.semantics() == Inversion.Semantics.EXACT;

        rowStart = new int[rows + 1];
        targetSample = new double[rows];
        targetClean = new double[rows];
        for (int row = 0; row < rows; row++) {
            int t = timesteps[row];
            if (t < 0 || t >= schedule.trainTimesteps()) {
                throw new IllegalArgumentException(
                        "timesteps[" + row + "]: expected 0 to " + (schedule.trainTimesteps() - 1) + ", got " + t);
            }
            rowStart[row + 1] = rowStart[row] + grid.stepsBelow(t) + (exact ? 1 : 0);
            double alpha = schedule.alphaCumprod(t);
            double noise = Math.sqrt(1 - alpha);
            switch (schedule.predictionType()) {
                case EPSILON -> {
                    targetSample[row] = 1 / noise;
                    targetClean[row] = -Math.sqrt(alpha) / noise;
                }
                case V_PREDICTION -> {
                    targetSample[row] = Math.sqrt(alpha) / noise;
                    targetClean[row] = -1 / noise;
                }
                case SAMPLE -> targetClean[row] = 1;
            }
        }

        int steps = rowStart[rows];
        timestep = new int[steps];
        destination = new int[steps];
        sampleCoefficient = new double[steps];
        outputCoefficient = new double[steps];
        noiseCoefficient = new double[steps];
        averages = new boolean[steps];
        if (inversion.renoise() == Inversion.Renoise.EVERY_STEP) {
            Arrays.fill(averages, true);
        }
        for (int row = 0; row < rows; row++) {
            int start = rowStart[row];
            int end = rowStart[row + 1];
            int onGrid = end - start - (exact ? 1 : 0);
            System.arraycopy(grid.timestep, 0, timestep, start, onGrid);
            System.arraycopy(grid.destination, 0, destination, start, onGrid);
            System.arraycopy(grid.a, 0, sampleCoefficient, start, onGrid);
            System.arraycopy(grid.b, 0, outputCoefficient, start, onGrid);
            System.arraycopy(grid.noise, 0, noiseCoefficient, start, onGrid);
            if (exact) {
                int t = timesteps[row];
                double from = onGrid == 0 ? schedule.alphaInit() : schedule.alphaCumprod(destination[end - 2]);
                LevelChange change = LevelChange.of(from, schedule.alphaCumprod(t), schedule.predictionType());
                timestep[end - 1] = t;
                destination[end - 1] = t;
                sampleCoefficient[end - 1] = change.a();
                outputCoefficient[end - 1] = change.b();
                noiseCoefficient[end - 1] = noise(inversion.eta(), from, schedule.alphaCumprod(t));
            }
            if (inversion.renoise() == Inversion.Renoise.LAST_STEP && end > start) {
                averages[end - 1] = true;
            }
        }
    }

    /// The steps that all rows share: a row takes those below its t.
    private static final class Grid {
        final int[] timestep;
        final int[] destination;
        final double[] a;
        final double[] b;
        final double[] noise;
        /// A row takes the step if its t exceeds this.
        final int[] bound;

        Grid(NoiseSchedule schedule, Inversion inversion) {
            int n = inversion.steps();
            int trainTimesteps = schedule.trainTimesteps();
            int[] points = inversion.spacing().grid(trainTimesteps, n, schedule.stepsOffset());
            int stride = trainTimesteps / n;
            timestep = new int[n];
            destination = new int[n];
            bound = new int[n];
            a = new double[n];
            b = new double[n];
            noise = new double[n];
            for (int i = 0; i < n; i++) {
                int source;
                switch (inversion.semantics()) {
                    case V020 -> {
                        source =
                                i == 0 ? firstSource(points[0], inversion.spacing(), trainTimesteps, n) : points[i - 1];
                        destination[i] = source + stride;
                        timestep[i] = source;
                        bound[i] = source;
                    }
                    case V022 -> {
                        source = points[i] - stride;
                        destination[i] = points[i];
                        timestep[i] = points[i];
                        bound[i] = points[i];
                    }
                    case EXACT -> {
                        source = i == 0 ? -1 : points[i - 1];
                        destination[i] = points[i];
                        timestep[i] = points[i];
                        bound[i] = points[i];
                    }
                    default -> throw new AssertionError(inversion.semantics());
                }
                double from = source < 0 ? schedule.alphaInit() : schedule.alphaCumprod(source);
                double to = schedule.alphaCumprod(destination[i]);
                LevelChange change = LevelChange.of(from, to, schedule.predictionType());
                a[i] = change.a();
                b[i] = change.b();
                noise[i] = noise(inversion.eta(), from, to);
            }
        }

        /// The old grid begins one stride below the first point. The stride of trailing spacing is not
        /// rounded, but the difference is rounded toward zero.
        private static int firstSource(int firstPoint, TimestepSpacing spacing, int trainTimesteps, int n) {
            return spacing == TimestepSpacing.TRAILING
                    ? (int) (firstPoint - (double) trainTimesteps / n)
                    : firstPoint - trainTimesteps / n;
        }

        int stepsBelow(int t) {
            int count = 0;
            while (count < bound.length && bound[count] < t) {
                count++;
            }
            return count;
        }
    }

    /// InPO's noise: eta times the square root of DDIM's variance (arXiv 2010.02502, formula 16) between
    /// the destination and the source.
    private static double noise(double eta, double from, double to) {
        return eta == 0 ? 0 : eta * Math.sqrt((1 - from) / (1 - to) * (1 - to / from));
    }

    public Inversion inversion() {
        return inversion;
    }

    public int rows() {
        return trainTimestep.length;
    }

    /// Steps of all rows together.
    public int steps() {
        return timestep.length;
    }

    /// UNet evaluations of all rows together: one for a step, two for one that averages.
    public int evaluations() {
        int evaluations = timestep.length;
        for (boolean twice : averages) {
            evaluations += twice ? 1 : 0;
        }
        return evaluations;
    }

    /// Index of a row's first step; `rowStart(rows())` is [#steps].
    public int rowStart(int row) {
        return rowStart[row];
    }

    public int steps(int row) {
        return rowStart[row + 1] - rowStart[row];
    }

    /// The row's t, at which policy and reference are evaluated and which the target assumes.
    public int trainTimestep(int row) {
        return trainTimestep[row];
    }

    /// The timestep whose level the row's latents actually reach; -1 if the row has no step and stays
    /// clean.
    public int endTimestep(int row) {
        return rowStart[row + 1] == rowStart[row] ? -1 : destination[rowStart[row + 1] - 1];
    }

    public double targetSampleCoefficient(int row) {
        return targetSample[row];
    }

    public double targetCleanCoefficient(int row) {
        return targetClean[row];
    }

    /// The timestep that the UNet gets at a step; negative at the first step of
    /// [Inversion.Semantics#V020].
    public int timestep(int step) {
        return timestep[step];
    }

    public double sampleCoefficient(int step) {
        return sampleCoefficient[step];
    }

    public double outputCoefficient(int step) {
        return outputCoefficient[step];
    }

    public double noiseCoefficient(int step) {
        return noiseCoefficient[step];
    }

    /// Whether the step uses the mean of two outputs.
    public boolean averages(int step) {
        return averages[step];
    }

    /// A copy of all row starts, `rows() + 1` of them.
    @Override
    public int[] rowStarts() {
        return rowStart.clone();
    }

    /// A copy of all steps' timesteps.
    @Override
    public int[] timesteps() {
        return timestep.clone();
    }

    /// A copy of all steps' coefficients of x.
    @Override
    public double[] sampleCoefficients() {
        return sampleCoefficient.clone();
    }

    /// A copy of all steps' coefficients of the output.
    @Override
    public double[] outputCoefficients() {
        return outputCoefficient.clone();
    }

    /// A copy of all steps' coefficients of fresh noise.
    @Override
    public double[] noiseCoefficients() {
        return noiseCoefficient.clone();
    }

    /// A copy of all steps' flags.
    @Override
    public boolean[] averages() {
        return averages.clone();
    }

    /// A copy of all rows' target coefficients of x.
    @Override
    public double[] targetSampleCoefficients() {
        return targetSample.clone();
    }

    /// A copy of all rows' target coefficients of x0.
    @Override
    public double[] targetCleanCoefficients() {
        return targetClean.clone();
    }
}
