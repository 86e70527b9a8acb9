package org.smpo.evaluate;

import java.nio.file.Path;

/// The metrics that there are.
public final class Metrics {
    private Metrics() {}

    /// A CLIP model in transformers' layout, PickScore for one.
    ///
    /// @param name under which its numbers stand in the results
    /// @param processor folder with `preprocessor_config.json` and tokenizer; often `model` itself
    /// @throws IllegalArgumentException when there is no such folder
    public static Metric.Source clip(String name, Path model, Path processor) {
        return new RewardMetric.Clip(name, model, processor);
    }

    /// The demo's checker, `checker`: for images of 64x64 of the demo's captions.
    public static Metric.Source checker() {
        return new SceneMetric.Checker();
    }
}
