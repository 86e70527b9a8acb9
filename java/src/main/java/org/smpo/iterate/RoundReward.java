package org.smpo.iterate;

import org.smpo.evaluate.Metric;
import org.smpo.evaluate.Metrics;
import org.smpo.reward.RewardSource;

/// A reward of the rounds, with its name.
///
/// @param text the reward as a command line names it
/// @param source the reward
record RoundReward(String text, RewardSource source) {
    String name() {
        return source.name().orElseThrow();
    }

    Metric.Source metric() {
        return Metrics.reward(name(), source);
    }
}
