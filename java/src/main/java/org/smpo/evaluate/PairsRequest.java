package org.smpo.evaluate;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble.Combination;
import org.smpo.objective.TournamentLoser;

/// How preference pairs are made from an evaluation's images.
///
/// @param evaluation folder of the evaluation
/// @param model name of the model whose images are used; empty: the evaluation's first model
/// @param by rewards that score the images; may be empty for a tournament
/// @param combination how the rewards become one score per image
/// @param select rule that selects pairs
/// @param judge judge of a tournament; present exactly with [PairRule#TOURNAMENT]
/// @param loser choice of a tournament's loser
/// @param perPrompt largest number of pairs per prompt, 1 or more
/// @param minPreference least preference 2p − 1 of a pair, from 0 to below 1
/// @param seed seed of the random choices
/// @param target folder for the pairs; created, or without pairs
public record PairsRequest(
        Path evaluation,
        Optional<String> model,
        List<Measure> by,
        Combination combination,
        PairRule select,
        Optional<JudgeSpec> judge,
        TournamentLoser loser,
        int perPrompt,
        double minPreference,
        long seed,
        Path target) {
    /// A word of a command, parts of which may stand in quotes.
    private static final Pattern WORD = Pattern.compile("(?:[^\\s\"']+|\"[^\"]*\"|'[^']*')+");

    /// What the scores of a reward are divided by to have logits.
    public sealed interface Temperature {
        /// A temperature that is given.
        ///
        /// @param value finite and above 0
        record Given(double value) implements Temperature {
            /// @throws IllegalArgumentException when the value is out of its range
            public Given {
                EvaluationRequest.require(
                        value > 0 && Double.isFinite(value), "temperature", "a finite number above 0, or auto", value);
            }
        }

        /// A temperature that is found where it is needed.
        enum Found implements Temperature {
            /// The published temperature of the reward's kind, which the evaluation records; [#TYPICAL] where that
            /// is unknown.
            OF_KIND,
            /// The typical deviation of the scores within a prompt, [RewardEnsemble#typicalTemperature].
            TYPICAL
        }
    }

    /// A reward that scores the images.
    ///
    /// @param name name of its scores in the evaluation
    /// @param temperature what scores are divided by to have logits
    /// @param weight weight among the rewards, 0 or more
    public record Measure(String name, Temperature temperature, double weight) {
        /// @throws IllegalArgumentException when the weight is out of its range
        public Measure {
            EvaluationRequest.require(
                    weight >= 0 && Double.isFinite(weight), name + ": weight", "a finite number of 0 or more", weight);
        }

        /// Returns the temperature if it is given.
        OptionalDouble givenTemperature() {
            return temperature instanceof Temperature.Given given
                    ? OptionalDouble.of(given.value())
                    : OptionalDouble.empty();
        }

        /// Returns the same reward with this temperature.
        Measure withTemperature(double value) {
            return new Measure(name, new Temperature.Given(value), weight);
        }

        /// Reads `NAME[:TEMPERATURE[:WEIGHT]]`; the temperature may be `auto`, the typical deviation. Without one, it
        /// is that of the reward's kind.
        ///
        /// @throws IllegalArgumentException when the text has another form
        public static Measure parse(String text) {
            String[] parts = text.split(":", -1);
            EvaluationRequest.require(
                    parts.length <= 3 && !parts[0].isEmpty(),
                    "reward",
                    "NAME, NAME:TEMPERATURE or NAME:TEMPERATURE:WEIGHT",
                    text);
            try {
                return new Measure(
                        parts[0],
                        parts.length < 2 ? Temperature.Found.OF_KIND : temperature(parts[1]),
                        parts.length < 3 ? 1 : number(parts[2]));
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException("reward " + text + ": " + e.getMessage(), e);
            }
        }

        private static Temperature temperature(String part) {
            return part.equals("auto") ? Temperature.Found.TYPICAL : new Temperature.Given(number(part));
        }

        private static double number(String part) {
            try {
                return Double.parseDouble(part);
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException("expected a number, got " + part, e);
            }
        }
    }

    /// The judge of a tournament.
    public sealed interface JudgeSpec {
        /// Returns the judge as it is given on a command line.
        String text();

        /// Returns the names of the rewards whose scores the judge reads.
        List<String> rewards();
    }

    /// A judge that compares the scores of one reward: p = σ(Δ/T).
    ///
    /// @param measure the reward
    public record ScoreJudge(Measure measure, String text) implements JudgeSpec {
        @Override
        public List<String> rewards() {
            return List.of(measure.name());
        }
    }

    /// A judge that counts the votes of several rewards, each for the image that it scores higher.
    ///
    /// @param names names of the rewards in the evaluation
    public record MajorityJudge(List<String> names, String text) implements JudgeSpec {
        @Override
        public List<String> rewards() {
            return names;
        }
    }

    /// A judge that asks an external program; see [CommandJudge].
    ///
    /// @param words the program and its arguments
    /// @param journal file of the answers; kept between runs
    /// @param timeout longest time to wait for an answer
    public record ExternalJudge(List<String> words, Path journal, Duration timeout, String text) implements JudgeSpec {
        @Override
        public List<String> rewards() {
            return List.of();
        }
    }

    /// Reads a judge as it is given on a command line: `score:NAME[:T]`, `majority:NAME,NAME,...` or
    /// `command:PROGRAM ARGUMENTS`. Words of a command are separated by spaces; quotes keep a word together.
    ///
    /// @param journal file of an external judge's answers
    /// @param timeout longest time to wait for an answer of an external judge
    /// @throws IllegalArgumentException when the text has another form
    public static JudgeSpec judge(String text, Path journal, Duration timeout) {
        int colon = text.indexOf(':');
        String kind = colon < 0 ? text : text.substring(0, colon);
        String rest = colon < 0 ? "" : text.substring(colon + 1).strip();
        return switch (rest.isEmpty() ? "" : kind) {
            case "score" -> new ScoreJudge(Measure.parse(rest), text);
            case "majority" -> new MajorityJudge(List.of(rest.split(",", -1)), text);
            case "command" -> new ExternalJudge(words(rest), journal, timeout, text);
            default ->
                throw new IllegalArgumentException("judge: expected score:NAME[:T], majority:NAME,NAME,... or"
                        + " command:PROGRAM ARGUMENTS, got " + text);
        };
    }

    private static List<String> words(String command) {
        List<String> words = new ArrayList<>();
        Matcher matcher = WORD.matcher(command);
        while (matcher.find()) {
            words.add(matcher.group().replaceAll("[\"']", ""));
        }
        return words;
    }

    /// @throws IllegalArgumentException when the settings do not go together, naming what to change
    public PairsRequest {
        by = List.copyOf(by);
        Set<String> names = new HashSet<>();
        for (Measure measure : by) {
            EvaluationRequest.require(
                    names.add(measure.name()), "by", "distinct rewards", "a second " + measure.name());
        }
        boolean ofTournament = select == PairRule.TOURNAMENT;
        EvaluationRequest.require(
                ofTournament || !by.isEmpty(), "by", "at least one reward for " + select.id(), "none");
        EvaluationRequest.require(
                by.isEmpty() || by.stream().anyMatch(m -> m.weight() > 0), "by", "a weight above 0", "none");
        EvaluationRequest.require(
                judge.isPresent() == ofTournament,
                "judge",
                ofTournament ? "one for a tournament" : "none for " + select.id() + ", which asks no judge",
                judge.map(JudgeSpec::text).orElse("none"));
        EvaluationRequest.require(perPrompt >= 1, "per_prompt", "1 or more", perPrompt);
        EvaluationRequest.require(
                !ofTournament || perPrompt == 1, "per_prompt", "1 for a tournament, which has one champion", perPrompt);
        EvaluationRequest.require(
                minPreference >= 0 && minPreference < 1, "min_preference", "from 0 to below 1", minPreference);
        EvaluationRequest.require(
                combination != Combination.RAW
                        || by.size() <= 1
                        || by.stream().allMatch(m -> m.givenTemperature().isPresent()),
                "combine",
                "a temperature for each reward with raw scores (NAME:TEMPERATURE), or calibrated or standardised"
                        + " scores",
                "raw");
        EvaluationRequest.require(
                minPreference == 0 || ofTournament || hasProbabilities(by, combination),
                "min_preference",
                "0 for raw scores without a temperature, which say no probability (give NAME:TEMPERATURE)",
                minPreference);
    }

    /// Returns whether combined scores say how probable a preference is.
    boolean hasProbabilities() {
        return hasProbabilities(by, combination);
    }

    private static boolean hasProbabilities(List<Measure> by, Combination combination) {
        return combination != Combination.RAW
                || by.stream().allMatch(m -> m.givenTemperature().isPresent());
    }

    /// Returns the name of a combination on command lines.
    public static String id(Combination combination) {
        return combination.name().toLowerCase(Locale.ROOT);
    }

    /// Returns the combination that is meant where none is named: a single reward's own scores, so that they keep their
    /// unit, and calibrated ones of several rewards, whose units differ.
    public static Combination combinationOf(List<Measure> by) {
        return by.size() == 1 ? Combination.RAW : Combination.CALIBRATED;
    }
}
