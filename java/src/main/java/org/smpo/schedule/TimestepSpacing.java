package org.smpo.schedule;

/// Choice of the training timesteps that a run of n steps visits, by diffusers' `timestep_spacing` (table 2 of
/// Lin et al., "Common diffusion noise schedules and sample steps are flawed", arXiv 2305.08891). T is the
/// number of training timesteps.
public enum TimestepSpacing {
    /// From the last training timestep to 0, both included, in equal parts.
    LINSPACE("linspace"),
    /// Multiples of `T / n` rounded down, plus `steps_offset`; misses the last timesteps.
    LEADING("leading"),
    /// Down from T in parts of exactly `T / n`, rounded, minus 1; begins at the last timestep.
    TRAILING("trailing");

    private final String configName;

    TimestepSpacing(String configName) {
        this.configName = configName;
    }

    /// The name in a `scheduler_config.json`.
    public String configName() {
        return configName;
    }

    /// The visited timesteps in rising order. `stepsOffset` applies to leading spacing only, as in diffusers.
    ///
    /// diffusers' trailing grid has one entry too many (timestep -1) for a few counts such as 61 or 103, where
    /// the division's rounding lets its range run on; ours always has `count`.
    int[] grid(int trainTimesteps, int count, int stepsOffset) {
        checkCount(trainTimesteps, count);
        int[] grid = new int[count];
        for (int i = 0; i < count; i++) {
            grid[i] = switch (this) {
                case LINSPACE -> (int) Math.rint(linspace(trainTimesteps - 1, count, i));
                case LEADING -> i * (trainTimesteps / count) + stepsOffset;
                case TRAILING -> (int) Math.rint(trailing(trainTimesteps, trainTimesteps, count, count - 1 - i)) - 1;
            };
        }
        if (grid[count - 1] >= trainTimesteps) {
            throw new IllegalArgumentException("steps: " + count + " steps with " + configName + " spacing and "
                    + "steps_offset " + stepsOffset + " need timestep " + grid[count - 1] + ", but the last one is "
                    + (trainTimesteps - 1) + "; take fewer steps");
        }
        return grid;
    }

    static void checkCount(int trainTimesteps, int count) {
        if (count < 1 || count > trainTimesteps) {
            throw new IllegalArgumentException("steps: expected 1 to " + trainTimesteps + ", got " + count);
        }
    }

    /// Entry `i` of `count` equally spaced numbers from 0 to `last`; a single one is 0.
    static double linspace(double last, int count, int i) {
        if (count == 1) {
            return 0;
        }
        return i == count - 1 ? last : i * (last / (count - 1));
    }

    /// Entry `i` of the numbers from `first` down by `trainTimesteps / count`, summed as numpy's `arange` does:
    /// the stride is the difference of the first two entries, and halves round the same way only if it is.
    static double trailing(int first, int trainTimesteps, int count, int i) {
        double second = first - (double) trainTimesteps / count;
        return first + i * (second - first);
    }
}
