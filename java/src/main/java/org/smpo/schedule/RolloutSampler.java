package org.smpo.schedule;

import java.util.stream.IntStream;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

/// Samples where rollouts start, and the noisier timesteps at which their ends are trained on, as a pure
/// function of (seed, step, place in the global batch). Immutable.
///
/// The start is uniform over the points of the grid, the timestep uniform over those after the rollout's
/// end.
public final class RolloutSampler {
    private final Philox philox;
    private final TruncatedRollout rollout;
    private final int trainTimesteps;
    private final int end;
    private final int points;

    /// @param end timestep below which all sampled timesteps lie, at most the number of training
    ///     timesteps; points whose rollouts leave no timestep below it are not sampled
    /// @throws IllegalArgumentException when no point is left
    public RolloutSampler(long seed, TruncatedRollout rollout, int trainTimesteps, int end) {
        this.philox = new Philox(seed);
        this.rollout = rollout;
        this.trainTimesteps = trainTimesteps;
        this.end = end;
        // The ends of rollouts increase with their starts.
        this.points = (int) IntStream.range(0, rollout.grid())
                .filter(point -> rollout.end(trainTimesteps, rollout.start(trainTimesteps, point)) < end - 1)
                .count();
        if (points == 0) {
            throw new IllegalArgumentException("timesteps.end: expected 2 or more, got " + end);
        }
    }

    /// The timestep from which the rollout of an image starts.
    public int start(long step, long place) {
        return rollout.start(trainTimesteps, philox.uniformInt(Purpose.ROLLOUT_LEVELS, step, 2 * place, points));
    }

    /// The timestep at which an image is trained on.
    public int timestep(long step, long place) {
        int reached = rollout.end(trainTimesteps, start(step, place));
        return reached + 1 + philox.uniformInt(Purpose.ROLLOUT_LEVELS, step, 2 * place + 1, end - 1 - reached);
    }
}
