package org.smpo.evaluate;

import java.nio.file.Path;

/// The measures that there are.
public final class Measures {
    private Measures() {}

    /// A CLIP model in transformers' layout, PickScore for one.
    ///
    /// @param name under which its numbers stand in the results
    /// @param processor folder with `preprocessor_config.json` and tokenizer; often `model` itself
    /// @throws IllegalArgumentException when there is no such folder
    public static Measure.Source clip(String name, Path model, Path processor) {
        return new RewardMeasure.Clip(name, model, processor);
    }

    /// The demo's checker, `checker`: for pictures of 64x64 of the demo's captions.
    public static Measure.Source checker() {
        return new SceneMeasure.Checker();
    }
}
