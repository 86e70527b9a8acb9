package org.smpo.schedule;

/// The levels that a sampler in sigma space visits, from noise to image: sigma is noise over signal. Each level
/// but the last belongs to an evaluation of the UNet, at a timestep that may lie between two training
/// timesteps.
final class SigmaGrid {
    /// Stands in for the zero that the last entry of a zero-terminal-SNR table has, where a rule divides by it:
    /// the smallest positive half-precision number, as in diffusers.
    private static final double ALMOST_NO_SIGNAL = 0x1p-24;

    private static final double KARRAS_RHO = 7;

    /// By training timestep.
    private final double[] table;

    private final double[] timesteps;

    /// One more than timesteps; the last is 0 until [#endAt].
    private final double[] sigmas;

    private SigmaGrid(double[] table, double[] timesteps) {
        this.table = table;
        this.timesteps = timesteps;
        sigmas = new double[timesteps.length + 1];
        for (int i = 0; i < timesteps.length; i++) {
            sigmas[i] = interpolate(table, timesteps[i]);
        }
    }

    /// The grid of Euler's method, whose linspace is not rounded.
    static SigmaGrid fractional(NoiseSchedule schedule, TimestepSpacing spacing, int stepsOffset, int steps) {
        double[] timesteps = new double[steps];
        if (spacing == TimestepSpacing.LINSPACE) {
            for (int i = 0; i < steps; i++) {
                timesteps[i] = TimestepSpacing.linspace(schedule.trainTimesteps() - 1, steps, steps - 1 - i);
            }
        } else {
            int[] grid = spacing.grid(schedule.trainTimesteps(), steps, stepsOffset);
            for (int i = 0; i < steps; i++) {
                timesteps[i] = grid[steps - 1 - i];
            }
        }
        return new SigmaGrid(table(schedule), timesteps);
    }

    /// The grid of the multistep solvers, which has one more point than steps and leaves out the lowest, except in
    /// trailing spacing.
    ///
    /// @param lambdaMin training timesteps whose half log-SNR is smaller are not visited
    static SigmaGrid solver(
            NoiseSchedule schedule, TimestepSpacing spacing, int stepsOffset, double lambdaMin, int steps) {
        double[] table = table(schedule);
        int trainTimesteps = schedule.trainTimesteps();
        int usable = 0;
        for (double sigma : table) {
            usable += -Math.log(sigma) >= lambdaMin ? 1 : 0;
        }
        if (usable < 1) {
            throw new IllegalArgumentException("lambda_min_clipped: " + lambdaMin
                    + " leaves no timestep; the largest half log-SNR is " + -Math.log(table[0]));
        }
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
                case LEADING -> (steps - i) * (usable / (steps + 1)) + stepsOffset;
                case TRAILING -> Math.rint(TimestepSpacing.trailing(usable, trainTimesteps, steps, i)) - 1;
            };
        }
        if (timesteps[0] >= trainTimesteps) {
            throw new IllegalArgumentException("steps: " + steps + " steps with steps_offset " + stepsOffset
                    + " need timestep " + (int) timesteps[0] + ", but the last one is " + (trainTimesteps - 1));
        }
        return new SigmaGrid(table, timesteps);
    }

    /// The grid of the multistep solvers with Karras sigmas between the last and the first training timestep's.
    static SigmaGrid karras(NoiseSchedule schedule, int steps) {
        double[] table = table(schedule);
        SigmaGrid grid = new SigmaGrid(table, new double[steps]);
        grid.spaceByKarras(table[table.length - 1], table[0]);
        for (int i = 0; i < steps; i++) {
            grid.timesteps[i] = Math.rint(grid.timesteps[i]);
        }
        return grid;
    }

    /// Replaces the levels by those of Karras et al., formula 5: equal steps of sigma^(1/rho), from `first` down
    /// to `last`.
    void spaceByKarras(double first, double last) {
        double high = Math.pow(first, 1 / KARRAS_RHO);
        double low = Math.pow(last, 1 / KARRAS_RHO);
        for (int i = 0; i < timesteps.length; i++) {
            double ramp = TimestepSpacing.linspace(1, timesteps.length, i);
            sigmas[i] = Math.pow(high + ramp * (low - high), KARRAS_RHO);
            timesteps[i] = timestepOf(sigmas[i]);
        }
    }

    void endAt(FinalSigma finalSigma) {
        sigmas[timesteps.length] = finalSigma == FinalSigma.ZERO ? 0 : table[0];
    }

    /// Number of UNet evaluations.
    int steps() {
        return timesteps.length;
    }

    double timestep(int step) {
        return timesteps[step];
    }

    double sigma(int level) {
        return sigmas[level];
    }

    /// The factor of the clean latents at a level, where signal and noise have power 1 together.
    double signal(int level) {
        return 1 / Math.sqrt(sigmas[level] * sigmas[level] + 1);
    }

    /// The factor of the noise at a level.
    double noise(int level) {
        return sigmas[level] * signal(level);
    }

    /// Factor of the standard normal that gives the first latents of a rule in which the signal has factor 1.
    /// Leading spacing starts from a level that still holds signal, whose power counts too.
    double initialNoiseScale(TimestepSpacing spacing) {
        double largest = sigmas[0];
        return spacing == TimestepSpacing.LEADING ? Math.sqrt(largest * largest + 1) : largest;
    }

    /// Noise over signal, by training timestep.
    private static double[] table(NoiseSchedule schedule) {
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

    /// The fractional timestep of a level: linear in log sigma between two entries of the table, held at its
    /// ends.
    private double timestepOf(double sigma) {
        int low = 0;
        while (low < table.length - 2 && table[low + 1] <= sigma) {
            low++;
        }
        double lowLog = Math.log(table[low]);
        double weight = (lowLog - Math.log(sigma)) / (lowLog - Math.log(table[low + 1]));
        return low + Math.clamp(weight, 0.0, 1.0);
    }
}
