package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.smpo.evaluate.PairsRequest.Measure;
import org.smpo.evaluate.PairsRequest.Temperature;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble;
import org.smpo.objective.RewardEnsemble.Combination;
import tools.jackson.databind.json.JsonMapper;

/// Preference pairs of a model's own images: the images of a prompt in an evaluation are a group, from which a rule
/// selects pairs.
///
/// The result is a folder with `pairs.jsonl`, as [org.smpo.data.PairSource] reads it, with copies of the images,
/// labels, scores and, where they are known, probabilities. The image of the lower seed comes first, so that the
/// position carries no information. `pairs.json` beside it records how the pairs were made.
public final class GeneratedPairs {
    /// The file that lists the pairs. It is written last, so a folder that has it is complete.
    public static final String LIST = "pairs.jsonl";

    /// The record of how the pairs were made, with their numbers.
    public static final String RECORD = "pairs.json";

    private static final String JUDGE_LOG = "judge.log";
    private static final String IMAGES = "pictures";
    private static final JsonMapper JSON = JsonMapper.shared();

    private final PairsRequest request;
    private final List<Measure> by;
    private final Map<String, Integer> columns;
    private final ScoredGroup.Groups groups;

    private GeneratedPairs(
            PairsRequest request, List<Measure> by, Map<String, Integer> columns, ScoredGroup.Groups groups) {
        this.request = request;
        this.by = by;
        this.columns = columns;
        this.groups = groups;
    }

    /// Numbers of what was written.
    ///
    /// @param pairs number of pairs
    /// @param ties number of prompts without a pair
    public record Made(int pairs, int ties) {}

    /// Writes the pairs of a finished evaluation.
    ///
    /// @param warnings told when the file system has no locks
    /// @throws IllegalArgumentException when the evaluation has no such model or metric, naming those it has
    /// @throws IOException when the evaluation is unfinished, a score is not finite, an image is missing, a judge
    ///     fails, or a file cannot be written
    public static Made write(PairsRequest request, Consumer<String> warnings) throws IOException, InterruptedException {
        Set<String> metrics = new LinkedHashSet<>();
        request.by().forEach(measure -> metrics.add(measure.name()));
        request.judge().ifPresent(judge -> metrics.addAll(judge.rewards()));
        ScoredGroup.Groups groups =
                ScoredGroup.read(request.evaluation(), request.model().orElse(null), List.copyOf(metrics));
        Map<String, Integer> columns = new LinkedHashMap<>();
        metrics.forEach(metric -> columns.put(metric, columns.size()));
        List<Measure> by = new ArrayList<>();
        for (Measure measure : request.by()) {
            boolean needed = request.combination() == Combination.CALIBRATED;
            by.add(needed ? withTemperature(measure, groups, columns) : measure);
        }
        return new GeneratedPairs(request, by, columns, groups).write(warnings);
    }

    /// The reward with a temperature that is found, where none is given.
    private static Measure withTemperature(Measure measure, ScoredGroup.Groups groups, Map<String, Integer> columns) {
        return switch (measure.temperature()) {
            case Temperature.Given _ -> measure;
            case Temperature.Found found -> {
                double published = groups.kinds().containsKey(measure.name())
                        ? groups.kinds().get(measure.name()).published().temperature()
                        : Double.NaN;
                boolean known = found == Temperature.Found.OF_KIND && !Double.isNaN(published);
                yield measure.withTemperature(known ? published : typical(measure, groups, columns));
            }
        };
    }

    private static double typical(Measure measure, ScoredGroup.Groups groups, Map<String, Integer> columns) {
        int column = columns.get(measure.name());
        try {
            return RewardEnsemble.typicalTemperature(groups.all().stream()
                    .map(group -> group.images().stream()
                            .mapToDouble(image -> image.score(column))
                            .toArray())
                    .toList());
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(measure.name() + ": " + e.getMessage(), e);
        }
    }

    private Made write(Consumer<String> warnings) throws IOException, InterruptedException {
        Files.createDirectories(request.target().resolve(IMAGES));
        Map<String, Object> counts = new LinkedHashMap<>();
        List<List<PairChoice>> chosen = request.select() == PairRule.TOURNAMENT
                ? byTournament(counts, warnings)
                : groups.all().stream().map(this::byScores).toList();
        StringBuilder lines = new StringBuilder();
        int pairs = 0;
        int ties = 0;
        for (int i = 0; i < chosen.size(); i++) {
            ScoredGroup group = groups.all().get(i);
            ties += chosen.get(i).isEmpty() ? 1 : 0;
            double[] combined = by.isEmpty() || chosen.get(i).isEmpty() ? new double[0] : combined(group);
            for (int k = 0; k < chosen.get(i).size(); k++) {
                lines.append(line(group, combined, k, chosen.get(i).get(k))).append('\n');
                pairs++;
            }
        }
        Json.write(request.target().resolve(RECORD), record(pairs, ties, counts));
        AtomicFiles.write(request.target().resolve(LIST), lines.toString());
        return new Made(pairs, ties);
    }

    private RewardEnsemble ensemble() {
        return new RewardEnsemble(
                by.stream().map(measure -> measure.givenTemperature().orElse(1)).toList(),
                by.stream().map(Measure::weight).toList());
    }

    private List<Integer> ownColumns() {
        return by.stream().map(measure -> columns.get(measure.name())).toList();
    }

    private double[] combined(ScoredGroup group) {
        return ensemble().combined(request.combination(), group.scores(ownColumns()));
    }

    private List<PairChoice> byScores(ScoredGroup group) {
        return PairChoice.choose(request, group, group.scores(ownColumns()), combined(group));
    }

    /// The pairs of all tournaments. A prompt of one image has none.
    private List<List<PairChoice>> byTournament(Map<String, Object> counts, Consumer<String> warnings)
            throws IOException, InterruptedException {
        int[] playing = IntStream.range(0, groups.all().size())
                .filter(i -> groups.all().get(i).images().size() > 1)
                .toArray();
        try (Judge judge = judge(warnings)) {
            Tournaments tournaments = new Tournaments(
                    request,
                    judge,
                    IntStream.of(playing).mapToObj(groups.all()::get).toList());
            List<PairChoice> pairs = tournaments.run();
            List<List<PairChoice>> all = new ArrayList<>();
            groups.all().forEach(group -> all.add(List.of()));
            for (int i = 0; i < playing.length; i++) {
                if (pairs.get(i) != null) {
                    all.set(playing[i], List.of(pairs.get(i)));
                }
            }
            counts.putAll(tournaments.counts());
            return all;
        }
    }

    private Judge judge(Consumer<String> warnings) throws IOException {
        return switch (request.judge().orElseThrow()) {
            case PairsRequest.ScoreJudge score -> {
                Measure measure = withTemperature(score.measure(), groups, columns);
                yield RewardJudge.ofScore(
                        columns.get(measure.name()), measure.givenTemperature().orElseThrow());
            }
            case PairsRequest.MajorityJudge majority ->
                RewardJudge.ofMajority(
                        majority.names().stream().map(columns::get).toList());
            case PairsRequest.ExternalJudge external ->
                new CommandJudge(
                        external,
                        JudgeJournal.open(external.journal(), external.words(), warnings),
                        request.target().resolve(JUDGE_LOG));
        };
    }

    /// The line of a pair, whose images are copied.
    ///
    /// @param combined combined score of each image; empty without rewards
    private String line(ScoredGroup group, double[] combined, int number, PairChoice pair) throws IOException {
        boolean winnerFirst = group.images().get(pair.winner()).seed()
                < group.images().get(pair.loser()).seed();
        int first = winnerFirst ? pair.winner() : pair.loser();
        int second = winnerFirst ? pair.loser() : pair.winner();
        String name = groups.model() + "-" + group.prompt();
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("id", number == 0 ? name : name + "-" + number);
        line.put("group", name);
        line.put("caption", group.caption());
        line.put("image_0", copied(group, first));
        line.put("image_1", copied(group, second));
        line.put("label", winnerFirst ? 0 : 1);
        if (pair.probability().isPresent()) {
            double p = pair.probability().getAsDouble();
            line.put("probability_0", winnerFirst ? p : 1 - p);
        }
        if (combined.length > 0) {
            line.put("score_0", combined[first]);
            line.put("score_1", combined[second]);
        }
        return JSON.writeValueAsString(line);
    }

    private String copied(ScoredGroup group, int index) throws IOException {
        ScoredGroup.Image image = group.images().get(index);
        String name = IMAGES + "/" + group.prompt() + "-" + image.seed() + ".png";
        Files.copy(image.file(), request.target().resolve(name), StandardCopyOption.REPLACE_EXISTING);
        return name;
    }

    private Map<String, Object> record(int pairs, int ties, Map<String, Object> counts) throws IOException {
        Map<String, Object> record = new LinkedHashMap<>();
        record.put("evaluation_sha256", Digest.sha256(ScoredGroup.results(request.evaluation())));
        record.put("model", groups.model());
        List<Map<String, Object>> rewards = new ArrayList<>();
        for (Measure measure : by) {
            Map<String, Object> reward = new LinkedHashMap<>();
            reward.put("name", measure.name());
            if (groups.kinds().containsKey(measure.name())) {
                reward.put("kind", groups.kinds().get(measure.name()).id());
            }
            OptionalDouble temperature = measure.givenTemperature();
            reward.put("temperature", temperature.isPresent() ? temperature.getAsDouble() : null);
            reward.put("weight", measure.weight());
            rewards.add(reward);
        }
        record.put("rewards", rewards);
        record.put("combine", PairsRequest.id(request.combination()));
        record.put("select", request.select().id());
        request.judge().ifPresent(judge -> {
            record.put("judge", judge.text());
            record.put("loser", request.loser().id());
        });
        record.put("per_prompt", request.perPrompt());
        record.put("min_preference", request.minPreference());
        record.put("seed", request.seed());
        record.put("prompts", groups.all().size());
        record.put("pairs", pairs);
        record.put("prompts_without_pair", ties);
        record.putAll(counts);
        return record;
    }
}
