package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.evaluate.Interval;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.report.RunLog;
import org.smpo.reward.HeadFit;

/// Numbers of a finished round.
///
/// @param round number of the round, from 1
/// @param model name of the model that generated the images
/// @param pairs numbers of the pairs
/// @param rewards mean of each reward over the images, by its name
/// @param head the reward's head; empty where none is trained
/// @param steps number of optimizer steps
/// @param training means over the last tenth of the steps, by their names in the log
record RoundSummary(
        long round,
        String model,
        PairCounts pairs,
        Map<String, Interval> rewards,
        Optional<Head> head,
        long steps,
        Map<String, Double> training) {
    /// Numbers of the head that a round fitted to its reward.
    ///
    /// @param humanAccuracy accuracy on held-out pairs of people
    /// @param humanAccuracyWithout the same without the head
    /// @param gameAccuracy share of pairs of a gold and a generated image whose gold image has the higher score
    /// @param gameWeight weight of these pairs in the fit
    /// @param norm norm of the head's weights
    record Head(
            double humanAccuracy, double humanAccuracyWithout, double gameAccuracy, double gameWeight, double norm) {
        /// Reads the numbers that were recorded with the head.
        static Head read(Path folder) throws IOException {
            JsonObject json = Json.readObject(folder.resolve(HeadFit.RECORD));
            return new Head(
                    json.number("held_out_accuracy"),
                    json.number("held_out_accuracy_without_head"),
                    json.number("game_accuracy"),
                    json.number("game_weight"),
                    json.number("norm"));
        }

        private static Head of(JsonObject json) throws IOException {
            return new Head(
                    json.number("human_accuracy"),
                    json.number("human_accuracy_without_head"),
                    json.number("game_accuracy"),
                    json.number("game_weight"),
                    json.number("norm"));
        }

        private Map<String, Object> json() {
            Map<String, Object> json = new LinkedHashMap<>();
            json.put("human_accuracy", humanAccuracy);
            json.put("human_accuracy_without_head", humanAccuracyWithout);
            json.put("game_accuracy", gameAccuracy);
            json.put("game_weight", gameWeight);
            json.put("norm", norm);
            return json;
        }
    }

    /// Values of the log that a summary has, where the objective logs them.
    static final List<String> LOGGED =
            List.of("loss", "implicit_accuracy", "winner_error", "reference_winner_error", "loser_error");

    private static final String HEAD = "head";

    /// Share of the last steps over which values are averaged.
    private static final int LAST = 10;

    /// Reads the numbers from the files of the round.
    static RoundSummary of(IterationPlan plan, RoundFolder round, PairCounts pairs) throws IOException {
        List<Map<String, Object>> steps = RunLog.read(round.run().resolve("log.jsonl")).stream()
                .filter(event -> "step".equals(event.get("event")))
                .toList();
        List<Map<String, Object>> last = steps.subList(steps.size() - Math.ceilDiv(steps.size(), LAST), steps.size());
        Map<String, Double> training = new LinkedHashMap<>();
        for (String name : LOGGED) {
            OptionalDouble mean = last.stream()
                    .map(event -> event.get(name))
                    .filter(Number.class::isInstance)
                    .mapToDouble(value -> ((Number) value).doubleValue())
                    .average();
            mean.ifPresent(value -> training.put(name, value));
        }
        String model = IterationPlan.modelName(plan.generatedBy(round.number()));
        return new RoundSummary(
                round.number(),
                model,
                pairs,
                means(Json.readObject(round.images().resolve("report.json")), model),
                plan.recipe().rounds().rewardTraining().isPresent()
                        ? Optional.of(Head.read(round.reward()))
                        : Optional.empty(),
                steps.size(),
                training);
    }

    /// Returns the mean of each metric over a model's images, from the numbers of an evaluation.
    static Map<String, Interval> means(JsonObject report, String model) throws IOException {
        Map<String, Interval> means = new LinkedHashMap<>();
        for (JsonObject figure : report.objects("figures")) {
            if (!figure.has("category") && figure.string("model").equals(model)) {
                means.put(figure.string("measure"), interval(figure.object("mean")));
            }
        }
        return means;
    }

    static Interval interval(JsonObject json) throws IOException {
        return new Interval(number(json, "estimate"), number(json, "low"), number(json, "high"));
    }

    private static double number(JsonObject json, String key) throws IOException {
        return json.has(key) ? json.number(key) : Double.NaN;
    }

    /// Reads the file of a finished round.
    static RoundSummary read(Path file) throws IOException {
        JsonObject json = Json.readObject(file);
        Map<String, Interval> rewards = new LinkedHashMap<>();
        JsonObject means = json.object("rewards");
        for (String name : means.keys()) {
            rewards.put(name, interval(means.object(name)));
        }
        Map<String, Double> training = new LinkedHashMap<>();
        JsonObject logged = json.object("training");
        for (String name : logged.keys()) {
            training.put(name, logged.number(name));
        }
        return new RoundSummary(
                json.integer("round"),
                json.string("model"),
                new PairCounts(json.integer("prompts"), json.integer("pairs"), json.integer("prompts_without_pair")),
                rewards,
                json.has(HEAD) ? Optional.of(Head.of(json.object(HEAD))) : Optional.empty(),
                json.integer("steps"),
                training);
    }

    /// Writes the file, which marks the round as finished.
    void write(Path file) throws IOException {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("round", round);
        json.put("model", model);
        json.put("prompts", pairs.prompts());
        json.put("pairs", pairs.pairs());
        json.put("prompts_without_pair", pairs.promptsWithoutPair());
        Map<String, Object> means = new LinkedHashMap<>();
        rewards.forEach((name, mean) -> means.put(name, mean.json()));
        json.put("rewards", means);
        head.ifPresent(fitted -> json.put(HEAD, fitted.json()));
        json.put("steps", steps);
        json.put("training", training);
        Json.write(file, json);
    }
}
