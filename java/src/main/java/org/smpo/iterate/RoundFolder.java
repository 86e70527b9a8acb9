package org.smpo.iterate;

import java.nio.file.Path;
import java.util.Locale;

/// The folder of a round.
///
/// ```text
/// prompts.json   prompts of the round
/// images/        an evaluation: the images, scored by every reward
/// reward/        the head of the reward, where one is trained
/// pairs/         preference pairs of these images
/// train.yaml     recipe of the training
/// run/           the training run, with the tuned model
/// round.json     numbers of the round; written last
/// ```
///
/// @param root the folder
/// @param number number of the round, from 1
record RoundFolder(Path root, int number) {
    static RoundFolder of(Path output, int number) {
        return new RoundFolder(output.resolve(name(number)), number);
    }

    /// Returns the name of a round's folder and of its model.
    static String name(int number) {
        return String.format(Locale.ROOT, "round-%02d", number);
    }

    Path prompts() {
        return root.resolve("prompts.json");
    }

    Path images() {
        return root.resolve("images");
    }

    Path reward() {
        return root.resolve("reward");
    }

    Path pairs() {
        return root.resolve("pairs");
    }

    Path recipe() {
        return root.resolve("train.yaml");
    }

    Path run() {
        return root.resolve("run");
    }

    Path summary() {
        return root.resolve("round.json");
    }
}
