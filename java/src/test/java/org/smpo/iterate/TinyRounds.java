package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Digest;
import org.smpo.network.TinyClip;
import org.smpo.reward.TintedPairs;

/// A small model, two rewards and three prompts, with which two rounds take seconds, and access to what
/// rounds leave.
///
/// @param root folder of the files
public record TinyRounds(Path root) {
    /// Writes the model, the rewards and the recipe.
    public static TinyRounds in(Path root) throws IOException {
        TinyRounds rounds = new TinyRounds(root);
        TinyModels.writeTrainable(root.resolve("model"));
        TinyClip.write(root.resolve("one"), "vit_h", 1);
        TinyClip.write(root.resolve("two"), "vit_h", 2);
        Files.writeString(root.resolve("prompts.txt"), "a cat\na red house\na dog\n");
        Files.writeString(rounds.recipe(), rounds.yaml());
        return rounds;
    }

    /// Writes the same with 200 pairs of people, to which the head of the first reward is fitted in each round. Their
    /// captions are the prompts.
    public static TinyRounds withTraining(Path root) throws IOException {
        TinyRounds rounds = in(root);
        TintedPairs.write(rounds.human(), 200, 0, 0);
        Files.writeString(
                rounds.recipe(),
                rounds.yaml()
                        .replace("iterate-smpo-sd15-lora", "apo-sd15-lora")
                        .replace("prompts: '" + root + "/prompts.txt'\n  prompts_per_round: 2", "prompts_per_round: 3")
                        .replaceFirst(
                                "pairs: .*",
                                "reward_training: {human: '" + rounds.human() + "', l2: 1e-2}\n  mix: {paths: '"
                                        + rounds.human() + "', fraction: 0.25}"));
        return rounds;
    }

    /// Returns the folder of the pairs of people.
    public Path human() {
        return root.resolve("human");
    }

    public Path recipe() {
        return root.resolve("rounds.yaml");
    }

    /// Returns the folder of the rounds.
    public Path output() {
        return root.resolve("out");
    }

    public Path cache() {
        return root.resolve("cache");
    }

    private String yaml() {
        return """
            base: iterate-smpo-sd15-lora
            model: '%1$s/model'
            output: '%1$s/out'
            seed: 3
            data: {resolution: 16, decode_threads: 1}
            inversion: {semantics: exact, steps: 2}
            train: {steps: 3, pairs_per_step: 2, precision: fp32, device: cpu, threads: 1, weights: {rank: 2, alpha: 2}}
            learning_rate: {value: 1e-2, warmup_steps: 0}
            checkpoint: {every: 1, keep: 1}
            rounds:
              count: 2
              prompts: '%1$s/prompts.txt'
              prompts_per_round: 2
              images: 3
              generation: {steps: 2, guidance_scale: 2, batch: 2}
              rewards: ['one=%1$s/one', 'two=%1$s/two']
              pairs: {select: best_worst, by: ['one', 'two:auto:0.5']}
              evaluation: {prompts: '%1$s/prompts.txt', images: 1}
            """.formatted(root);
    }

    /// Returns the reproducible contents of a folder by their names: digests of files, and logs without
    /// times. Excluded are TensorBoard's events, which contain times, and what depends on the lengths
    /// of both logs.
    public static Map<String, String> left(Path folder) throws IOException {
        Map<String, String> files = new TreeMap<>();
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                String name = folder.relativize(file).toString();
                if (name.endsWith("log.jsonl")) {
                    files.put(name, Files.readString(file).replaceAll("\"time\": *\\{[^}]*}", ""));
                } else if (name.endsWith("state.json")) {
                    files.put(name, Files.readString(file).replaceAll("\"(log|board)_bytes\": \\d+", ""));
                } else if (!name.contains("tfevents") && !name.matches(".*checkpoints/.*/manifest.json")) {
                    files.put(name, Digest.sha256(file));
                }
            }
        }
        return files;
    }
}
