package org.smpo.schedule;

/// The first steps of DDIM from noised latents, on a grid of timesteps: from a point of the grid,
/// `steps` of its strides down, or fewer where timestep 0 comes first.
///
/// The grid of n points on T training timesteps has the stride r = T / n and the points r − 1, 2r − 1,
/// ..., T − 1.
///
/// @param grid number of points of the grid, n
/// @param steps largest number of steps
public record TruncatedRollout(int grid, int steps) {
    /// @throws IllegalArgumentException when a number is below 1
    public TruncatedRollout {
        if (grid < 1 || steps < 1) {
            throw new IllegalArgumentException(
                    "rollout: expected a grid and steps of 1 or more, got " + grid + " and " + steps);
        }
    }

    /// Checks that a schedule has the grid and a finite ratio of noise to signal everywhere.
    ///
    /// @throws IllegalArgumentException when it has not
    public void requireFits(NoiseSchedule schedule) {
        if (schedule.trainTimesteps() % grid != 0 || schedule.trainTimesteps() < 2) {
            throw new IllegalArgumentException("grid: expected a divisor of the " + schedule.trainTimesteps()
                    + " training timesteps, got " + grid);
        }
        if (schedule.alphaCumprod(schedule.trainTimesteps() - 1) == 0) {
            throw new IllegalArgumentException("the schedule has zero terminal SNR; expected a finite ratio of noise to"
                    + " signal at every timestep");
        }
    }

    /// The timestep of a point of the grid.
    ///
    /// @param point 0 to `grid - 1`
    public int start(int trainTimesteps, int point) {
        return trainTimesteps / grid * (point + 1) - 1;
    }

    /// The timestep where a rollout ends.
    ///
    /// @param start a point of the grid
    public int end(int trainTimesteps, int start) {
        return Math.max(start - steps * (trainTimesteps / grid), 0);
    }

    /// The timestep after one step from another.
    int below(int trainTimesteps, int timestep) {
        return Math.max(timestep - trainTimesteps / grid, 0);
    }
}
