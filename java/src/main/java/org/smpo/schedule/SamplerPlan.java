package org.smpo.schedule;

/// Coefficients of a sampling run. DDIM, Euler, DPM-Solver++ and PNDM are all linear multistep rules, so one
/// loop runs them all:
///
/// ```
/// x = initialNoiseScale N(0, 1)
/// for each step i:
///   out     = UNet(inputScale x, timestep)
///   h[0]    = historySample x + historyOutput out       // earlier entries move to h[1], h[2], h[3]
///   x'      = sample x + saved s + sum over j of history(j) h[j] + noise N(0, 1)
///   if saves: s = x
///   if not keeps: h[0] is removed from the history
///   x       = x'
/// ```
///
/// The history holds what the rule is linear in: the clean latents it predicts for DPM-Solver++ (their
/// conversion belongs to the step where they were predicted), the raw output for the others. `saves` and
/// `keeps` serve PNDM: its second evaluation refines the first step from the same latents, and its output does
/// not enter the history. Coefficients at a step's index beyond the steps taken so far are 0 and so is `saved`
/// before anything was saved. Immutable.
///
/// Float64 throughout; diffusers' tables and levels are float32.
public final class SamplerPlan {
    /// Number of history entries that a step can read, including its own.
    public static final int MAX_HISTORY = 4;

    /// Stands in for the zero that the last entry of a zero-terminal-SNR table has, where a rule divides by it:
    /// the smallest positive half-precision number, as in diffusers.
    private static final double ALMOST_NO_SIGNAL = 0x1p-24;

    private static final double KARRAS_RHO = 7;

    /// Runs of fewer steps end with order 1 under `lower_order_final`, a constant of diffusers.
    private static final int FEW_STEPS = 15;

    private final Sampler sampler;
    private final double initialNoiseScale;
    private final double[] timestep;
    private final double[] inputScale;
    private final double[] historySample;
    private final double[] historyOutput;
    private final double[] sample;
    private final double[] saved;
    private final double[] history;
    private final double[] noise;
    private final boolean[] saves;
    private final boolean[] keeps;

    /// Plans a run of `steps` steps; PNDM evaluates the UNet once more than that.
    ///
    /// @throws IllegalArgumentException if the sampler cannot run on this schedule or with so many steps
    public static SamplerPlan of(NoiseSchedule schedule, Sampler sampler, int steps) {
        TimestepSpacing.checkCount(schedule.trainTimesteps(), steps);
        return switch (sampler) {
            case Sampler.Ddim ddim -> ddim(schedule, ddim, steps);
            case Sampler.Euler euler -> euler(schedule, euler, steps);
            case Sampler.DpmSolverMultistep solver -> dpmSolver(schedule, solver, steps);
            case Sampler.Pndm pndm -> pndm(schedule, pndm, steps);
        };
    }

    private SamplerPlan(Sampler sampler, int steps, double initialNoiseScale) {
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
        for (int i = 0; i < steps; i++) {
            inputScale[i] = 1;
            historyOutput[i] = 1;
            keeps[i] = true;
        }
    }

    private static SamplerPlan ddim(NoiseSchedule schedule, Sampler.Ddim ddim, int steps) {
        int[] grid = ddim.timestepSpacing().grid(schedule.trainTimesteps(), steps, ddim.stepsOffset());
        int stride = schedule.trainTimesteps() / steps;
        SamplerPlan plan = new SamplerPlan(ddim, steps, 1);
        for (int i = 0; i < steps; i++) {
            int t = grid[steps - 1 - i];
            double from = schedule.alphaCumprod(t);
            double to = alphaBelow(schedule, t - stride, ddim.setAlphaToOne());
            double variance = (1 - to) / (1 - from) * (1 - from / to);
            plan.timestep[i] = t;
            plan.noise[i] = ddim.eta() * Math.sqrt(variance);
            LevelChange change = ddim.eta() == 0
                    ? LevelChange.of(from, to, schedule.predictionType())
                    : LevelChange.of(
                            from, to, Math.sqrt(1 - to - plan.noise[i] * plan.noise[i]), schedule.predictionType());
            plan.sample[i] = change.a();
            plan.history[i * MAX_HISTORY] = change.b();
        }
        return plan;
    }

    private static SamplerPlan pndm(NoiseSchedule schedule, Sampler.Pndm pndm, int steps) {
        if (schedule.predictionType() == PredictionType.SAMPLE) {
            throw new IllegalArgumentException("prediction_type: PNDM takes epsilon or v_prediction, got sample");
        }
        if (schedule.zeroTerminalSnr()) {
            throw new IllegalArgumentException("rescale_betas_zero_snr: PNDM has no such parameter, expected false");
        }
        int[] grid = pndm.timestepSpacing().grid(schedule.trainTimesteps(), steps, pndm.stepsOffset());
        int stride = schedule.trainTimesteps() / steps;
        int evaluations = steps == 1 ? 1 : steps + 1;
        SamplerPlan plan = new SamplerPlan(pndm, evaluations, 1);
        for (int i = 0; i < evaluations; i++) {
            // The second timestep is visited twice: step 1 takes step 0 again, with the mean of both ends' outputs.
            boolean again = i == 1;
            int t = grid[steps - 1 - (i < 2 ? i : i - 1)];
            int source = again ? t + stride : t;
            int destination = again ? t : t - stride;
            LevelChange change = LevelChange.of(
                    schedule.alphaCumprod(source),
                    alphaBelow(schedule, destination, pndm.setAlphaToOne()),
                    schedule.predictionType());
            plan.timestep[i] = t;
            plan.saves[i] = i == 0;
            plan.keeps[i] = !again;
            (again ? plan.saved : plan.sample)[i] = change.a();
            double[] weights = again ? new double[] {1 / 2.0, 1 / 2.0} : adamsBashforth(Math.max(i, 1));
            for (int j = 0; j < weights.length; j++) {
                plan.history[i * MAX_HISTORY + j] = weights[j] * change.b();
            }
        }
        return plan;
    }

    /// Weights of the last outputs, latest first; order 4 at most.
    private static double[] adamsBashforth(int order) {
        return switch (order) {
            case 1 -> new double[] {1};
            case 2 -> new double[] {3 / 2.0, -1 / 2.0};
            case 3 -> new double[] {23 / 12.0, -16 / 12.0, 5 / 12.0};
            default -> new double[] {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0};
        };
    }

    private static SamplerPlan euler(NoiseSchedule schedule, Sampler.Euler euler, int steps) {
        double[] table = sigmas(schedule);
        double[] timesteps = new double[steps];
        if (euler.timestepSpacing() == TimestepSpacing.LINSPACE) {
            for (int i = 0; i < steps; i++) {
                timesteps[i] = TimestepSpacing.linspace(schedule.trainTimesteps() - 1, steps, steps - 1 - i);
            }
        } else {
            int[] grid = euler.timestepSpacing().grid(schedule.trainTimesteps(), steps, euler.stepsOffset());
            for (int i = 0; i < steps; i++) {
                timesteps[i] = grid[steps - 1 - i];
            }
        }
        double[] sigmas = new double[steps + 1];
        for (int i = 0; i < steps; i++) {
            sigmas[i] = interpolate(table, timesteps[i]);
        }
        if (euler.karrasSigmas()) {
            karras(sigmas, sigmas[0], sigmas[steps - 1], steps);
            for (int i = 0; i < steps; i++) {
                timesteps[i] = timestepOf(sigmas[i], table);
            }
        }
        sigmas[steps] = euler.finalSigma() == FinalSigma.ZERO ? 0 : table[0];

        // Leading spacing starts from a level that still holds signal, whose power counts too.
        double largest = sigmas[0];
        boolean pureNoise = euler.timestepSpacing() != TimestepSpacing.LEADING;
        SamplerPlan plan = new SamplerPlan(euler, steps, pureNoise ? largest : Math.sqrt(largest * largest + 1));
        for (int i = 0; i < steps; i++) {
            double sigma = sigmas[i];
            double change = sigmas[i + 1] - sigma;
            double power = sigma * sigma + 1;
            plan.timestep[i] = timesteps[i];
            plan.inputScale[i] = 1 / Math.sqrt(power);
            // x' = x + change (x - x0) / sigma, with x0 = x - sigma epsilon, x / power - sigma v / sqrt(power), or out.
            int own = i * MAX_HISTORY;
            switch (schedule.predictionType()) {
                case EPSILON -> {
                    plan.sample[i] = 1;
                    plan.history[own] = change;
                }
                case V_PREDICTION -> {
                    plan.sample[i] = 1 + change * sigma / power;
                    plan.history[own] = change / Math.sqrt(power);
                }
                case SAMPLE -> {
                    plan.sample[i] = 1 + change / sigma;
                    plan.history[own] = -change / sigma;
                }
            }
        }
        return plan;
    }

    private static SamplerPlan dpmSolver(NoiseSchedule schedule, Sampler.DpmSolverMultistep solver, int requested) {
        double[] table = sigmas(schedule);
        double[] timesteps;
        double[] sigmas;
        if (solver.karrasSigmas()) {
            timesteps = new double[requested];
            sigmas = new double[requested + 1];
            karras(sigmas, table[table.length - 1], table[0], requested);
            for (int i = 0; i < requested; i++) {
                timesteps[i] = Math.rint(timestepOf(sigmas[i], table));
            }
        } else {
            timesteps = dpmSolverTimesteps(schedule, solver, table, requested);
            sigmas = new double[timesteps.length + 1];
            for (int i = 0; i < timesteps.length; i++) {
                sigmas[i] = table[(int) timesteps[i]];
            }
        }
        int steps = timesteps.length;
        sigmas[steps] = solver.finalSigma() == FinalSigma.ZERO ? 0 : table[0];

        SamplerPlan plan = new SamplerPlan(solver, steps, 1);
        for (int i = 0; i < steps; i++) {
            double sigma = sigmas[i];
            double next = sigmas[i + 1];
            double alpha = 1 / Math.sqrt(sigma * sigma + 1);
            double nextAlpha = 1 / Math.sqrt(next * next + 1);
            plan.timestep[i] = timesteps[i];
            switch (schedule.predictionType()) {
                case EPSILON -> {
                    plan.historySample[i] = 1 / alpha;
                    plan.historyOutput[i] = -sigma;
                }
                case V_PREDICTION -> {
                    plan.historySample[i] = alpha;
                    plan.historyOutput[i] = -sigma * alpha;
                }
                case SAMPLE -> {
                    plan.historySample[i] = 0;
                    plan.historyOutput[i] = 1;
                }
            }
            plan.sample[i] = next * nextAlpha / (sigma * alpha);
            // alpha' (1 - exp(-h)), where h = log(sigma / sigma') is the step in half log-SNR.
            double weight = nextAlpha * (1 - next / sigma);
            boolean lowerAtEnd = next == 0 || solver.eulerAtFinal() || (solver.lowerOrderFinal() && steps < FEW_STEPS);
            boolean first = i == 0 || solver.solverOrder() == 1 || (i == steps - 1 && lowerAtEnd);
            double slope = first ? 0 : weight / 2 * (Math.log(sigma / next) / Math.log(sigmas[i - 1] / sigma));
            plan.history[i * MAX_HISTORY] = weight + slope;
            plan.history[i * MAX_HISTORY + 1] = -slope;
        }
        return plan;
    }

    /// DPM-Solver's grids have one more point than steps and leave out the lowest, except in trailing spacing.
    private static double[] dpmSolverTimesteps(
            NoiseSchedule schedule, Sampler.DpmSolverMultistep solver, double[] table, int steps) {
        int trainTimesteps = schedule.trainTimesteps();
        int usable = 0;
        for (double sigma : table) {
            usable += -Math.log(sigma) >= solver.lambdaMinClipped() ? 1 : 0;
        }
        if (usable < 1) {
            throw new IllegalArgumentException("lambda_min_clipped: " + solver.lambdaMinClipped()
                    + " leaves no timestep; the largest half log-SNR is " + -Math.log(table[0]));
        }
        TimestepSpacing spacing = solver.timestepSpacing();
        int count = steps;
        if (spacing == TimestepSpacing.TRAILING) {
            while (count > 0 && Math.rint(TimestepSpacing.trailing(usable, trainTimesteps, steps, count - 1)) < 1) {
                count--;
            }
        }
        double[] timesteps = new double[count];
        for (int i = 0; i < count; i++) {
            timesteps[i] = switch (spacing) {
                case LINSPACE -> Math.rint(TimestepSpacing.linspace(usable - 1, steps + 1, steps - i));
                case LEADING -> (steps - i) * (usable / (steps + 1)) + solver.stepsOffset();
                case TRAILING -> Math.rint(TimestepSpacing.trailing(usable, trainTimesteps, steps, i)) - 1;
            };
        }
        if (timesteps[0] >= trainTimesteps) {
            throw new IllegalArgumentException("steps: " + steps + " steps with steps_offset " + solver.stepsOffset()
                    + " need timestep " + (int) timesteps[0] + ", but the last one is " + (trainTimesteps - 1));
        }
        return timesteps;
    }

    private static double alphaBelow(NoiseSchedule schedule, int timestep, boolean setAlphaToOne) {
        if (timestep >= 0) {
            return schedule.alphaCumprod(timestep);
        }
        return setAlphaToOne ? 1 : schedule.alphaCumprod(0);
    }

    /// Noise over signal, by training timestep.
    private static double[] sigmas(NoiseSchedule schedule) {
        double[] sigmas = new double[schedule.trainTimesteps()];
        for (int t = 0; t < sigmas.length; t++) {
            boolean zero = schedule.zeroTerminalSnr() && t == sigmas.length - 1;
            double alpha = zero ? ALMOST_NO_SIGNAL : schedule.alphaCumprod(t);
            sigmas[t] = Math.sqrt((1 - alpha) / alpha);
        }
        return sigmas;
    }

    private static double interpolate(double[] table, double timestep) {
        int low = (int) timestep;
        if (low == timestep) {
            return table[low];
        }
        return table[low] + (timestep - low) * (table[low + 1] - table[low]);
    }

    /// Karras et al., formula 5: equal steps of sigma^(1/rho), from `first` down to `last`.
    private static void karras(double[] sigmas, double first, double last, int count) {
        double high = Math.pow(first, 1 / KARRAS_RHO);
        double low = Math.pow(last, 1 / KARRAS_RHO);
        for (int i = 0; i < count; i++) {
            double ramp = TimestepSpacing.linspace(1, count, i);
            sigmas[i] = Math.pow(high + ramp * (low - high), KARRAS_RHO);
        }
    }

    /// The fractional timestep of a level: linear in log sigma between two entries of the table, held at its
    /// ends.
    private static double timestepOf(double sigma, double[] table) {
        int low = 0;
        while (low < table.length - 2 && table[low + 1] <= sigma) {
            low++;
        }
        double lowLog = Math.log(table[low]);
        double weight = (lowLog - Math.log(sigma)) / (lowLog - Math.log(table[low + 1]));
        return low + Math.clamp(weight, 0.0, 1.0);
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

    /// Whether the latents before the step are saved for a later one.
    public boolean saves(int step) {
        return saves[step];
    }

    /// Whether the step's entry stays in the history.
    public boolean keeps(int step) {
        return keeps[step];
    }
}
