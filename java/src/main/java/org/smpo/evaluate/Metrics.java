package org.smpo.evaluate;

import org.smpo.reward.RewardSource;

/// The metrics of an evaluation.
public final class Metrics {
    private Metrics() {}

    /// Returns a reward as a metric.
    ///
    /// @param name name of its scores in the results
    /// @param source the reward model
    public static Metric.Source reward(String name, RewardSource source) {
        return new RewardMetric.RewardMetricSource(name, source);
    }

    /// Returns the demo's checker, a verdict named `checker`, for 64x64 images of the demo's captions.
    public static Metric.Source checker() {
        return new SceneMetric.Checker();
    }
}
