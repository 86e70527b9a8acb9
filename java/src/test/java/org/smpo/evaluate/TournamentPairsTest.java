package org.smpo.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.PairSource;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble.Combination;
import org.smpo.objective.TournamentLoser;

/// Pairs of tournaments: by scores, by votes, and by a program that answers late, wrongly, or not at all.
final class TournamentPairsTest {
    @TempDir
    private Path temporary;

    private Path evaluation;
    private Path questions;

    @BeforeEach
    void write() throws IOException, SQLException {
        evaluation = temporary.resolve("evaluation");
        questions = temporary.resolve("questions");
        // Image i of a prompt has the score i by the first reward; the second and third disagree with it.
        FakeEvaluation fake = new FakeEvaluation(evaluation, "a", "b", "c");
        for (int prompt = 0; prompt < 4; prompt++) {
            for (int image = 0; image < 5; image++) {
                fake.add("zero", prompt, "prompt " + prompt, 10 + image, image, -image, image == 2 ? 1 : 0);
            }
        }
        fake.add("zero", 4, "alone", 10, 1, 1, 1);
        fake.write();
    }

    private String command(String... arguments) {
        return "command:'" + ProcessHandle.current().info().command().orElse("java") + "' -cp '"
                + System.getProperty("java.class.path") + "' " + FakeJudge.class.getName() + " '" + questions + "' "
                + String.join(" ", arguments);
    }

    private PairsRequest request(String judge, TournamentLoser loser, long seed, String out) {
        Path target = temporary.resolve(out);
        return new PairsRequest(
                evaluation,
                Optional.empty(),
                List.of(),
                Combination.CALIBRATED,
                PairRule.TOURNAMENT,
                Optional.of(PairsRequest.judge(judge, temporary.resolve("judge.jsonl"), Duration.ofSeconds(20))),
                loser,
                1,
                0,
                seed,
                target);
    }

    private GeneratedPairs.Made run(String judge, String out) throws IOException, InterruptedException {
        return GeneratedPairs.write(request(judge, TournamentLoser.WORST, 0, out), message -> {});
    }

    private List<JsonObject> lines(String out) throws IOException {
        List<JsonObject> lines = new ArrayList<>();
        for (String line : Files.readAllLines(temporary.resolve(out).resolve(GeneratedPairs.LIST))) {
            lines.add(Json.parseObject("line", line));
        }
        return lines;
    }

    private JsonObject record(String out) throws IOException {
        return Json.readObject(temporary.resolve(out).resolve("pairs.json"));
    }

    private Set<String> images(String out) throws IOException {
        Set<String> images = new TreeSet<>();
        for (JsonObject line : lines(out)) {
            images.add(line.string("image_0") + " " + line.string("image_1") + " " + line.integer("label"));
        }
        return images;
    }

    /// Champions and worst images are 4 and 0 of each prompt, in whatever order they met.
    private static final Set<String> BEST_AGAINST_WORST = Set.of(
            "pictures/0-10.png pictures/0-14.png 1",
            "pictures/1-10.png pictures/1-14.png 1",
            "pictures/2-10.png pictures/2-14.png 1",
            "pictures/3-10.png pictures/3-14.png 1");

    @Test
    void aRewardJudges() throws IOException, InterruptedException {
        assertThat(run("score:a:2", "out")).isEqualTo(new GeneratedPairs.Made(4, 1));
        assertThat(images("out")).isEqualTo(BEST_AGAINST_WORST);
        JsonObject first = lines("out").getFirst();
        assertThat(first.number("probability_0")).isEqualTo(1 - 1 / (1 + Math.exp(-2)));
        assertThat(first.has("score_0")).isFalse();
        JsonObject record = record("out");
        assertThat(record.string("judge")).isEqualTo("score:a:2");
        // Four comparisons for the champion, three for the worst, and the final.
        assertThat(record.integer("comparisons")).isEqualTo(4 * (4 + 3 + 1));
        assertThat(record.integer("prompts_without_pair")).isEqualTo(1);
        try (PairSource source = PairSource.open(temporary.resolve("out"))) {
            assertThat(source.labels().people(0)).isEqualTo(HumanChoice.IMAGE_1);
            assertThat(source.labels().probability0(0)).isPresent();
        }
        Set<String> losers = new HashSet<>();
        for (int seed = 0; seed < 6; seed++) {
            PairsRequest request = request("score:a:2", TournamentLoser.RANDOM, seed, "random" + seed);
            assertThat(GeneratedPairs.write(request, message -> {})).isEqualTo(new GeneratedPairs.Made(4, 1));
            losers.addAll(images("random" + seed));
            assertThat(images("random" + seed)).allMatch(images -> images.endsWith("-14.png 1"));
        }
        assertThat(losers).hasSizeGreaterThan(8);
    }

    /// The first two rewards contradict each other, so the third decides: for image 2, and between others for none.
    @Test
    void aMajorityJudges() throws IOException, InterruptedException {
        assertThat(run("majority:a,b,c", "out")).isEqualTo(new GeneratedPairs.Made(4, 1));
        for (JsonObject line : lines("out")) {
            assertThat(line.string("image_" + line.integer("label"))).endsWith("-12.png");
            // 2 of 3 votes, and one beforehand for either.
            assertThat(Math.max(line.number("probability_0"), 1 - line.number("probability_0")))
                    .isEqualTo(0.6, org.assertj.core.data.Offset.offset(1e-12));
        }
        assertThatThrownBy(() -> run("majority:a,d", "none"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("metric: expected one of the evaluation's, a, b, c; got d");
    }

    @Test
    void aProgramJudgesInAnyOrder() throws IOException, InterruptedException {
        for (String mode : List.of("p", "choice", "backwards")) {
            assertThat(run(command(mode), mode)).as(mode).isEqualTo(new GeneratedPairs.Made(4, 1));
            assertThat(images(mode)).as(mode).isEqualTo(BEST_AGAINST_WORST);
            // Four comparisons for the champion, three for the worst, and the final in both orders; a question that was
            // asked before is not asked again.
            JsonObject record = record(mode);
            assertThat(record.integer("comparisons")).isEqualTo(4 * (4 + 3 + 2));
            assertThat(record.integer("inconsistent")).isZero();
            double p = lines(mode).getFirst().number("probability_0");
            assertThat(p)
                    .isEqualTo(
                            mode.equals("choice") ? 0.25 : 1 / (1 + Math.exp(4)),
                            org.assertj.core.data.Offset.offset(1e-12));
        }
        assertThat(temporary.resolve("p/judge.log")).content().contains("the judge starts");
    }

    /// A judge that prefers whatever it sees first contradicts itself in the final.
    /// Golden numbers of a judge that favours the first image by 0.3 log-odds, asked in both orders.
    @Test
    void bothOrdersCancelAPreferenceForTheFirstImage() {
        double[] score = {0.2, 0.9, -0.4, 1.3, 0.9};
        int[][] pairs = {{1, 0}, {4, 1}, {3, 1}};
        double[] printed = {0.664873119371, 0.5, 0.596583479824};
        for (int i = 0; i < pairs.length; i++) {
            double lead = score[pairs[i][0]] - score[pairs[i][1]];
            Judge.Answer first = new Judge.Answer(1 / (1 + Math.exp(-lead - 0.3)), false);
            Judge.Answer second = new Judge.Answer(1 / (1 + Math.exp(lead - 0.3)), false);
            assertThat(first.with(second.turned())).isCloseTo(printed[i], within(1e-12));
        }
    }

    @Test
    void aJudgeThatGoesByTheOrderGivesNoPair() throws IOException, InterruptedException {
        assertThat(run(command("first"), "out")).isEqualTo(new GeneratedPairs.Made(0, 5));
        assertThat(record("out").integer("inconsistent")).isEqualTo(4);
    }

    @Test
    void nothingIsAskedTwice() throws IOException, InterruptedException {
        run(command("p"), "whole");
        List<String> asked = Files.readAllLines(questions);
        assertThat(asked).doesNotHaveDuplicates();
        long all = asked.size();
        // The same again starts no program; another seed asks what is new.
        Files.delete(temporary.resolve("whole").resolve(GeneratedPairs.LIST));
        run(command("p"), "whole");
        assertThat(Files.readAllLines(questions)).hasSize((int) all);
        assertThat(record("whole").integer("asked")).isZero();
        GeneratedPairs.write(request(command("p"), TournamentLoser.WORST, 1, "other"), message -> {});
        assertThat(Files.readAllLines(questions)).doesNotHaveDuplicates();
        assertThat(images("other")).isEqualTo(BEST_AGAINST_WORST);
        // A last line that a killed process left incomplete is dropped.
        Path journal = temporary.resolve("judge.jsonl");
        String text = Files.readString(journal);
        Files.writeString(journal, text + "{\"key\": \"ab");
        Files.delete(temporary.resolve("whole").resolve(GeneratedPairs.LIST));
        run(command("p"), "whole");
        assertThat(journal).hasContent(text);
        Files.writeString(journal, text + "{\"key\": 3}\n");
        assertThatThrownBy(() -> run(command("p"), "broken"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("judge.jsonl: line ")
                .hasMessageContaining("choose another journal");
    }

    /// Each process answers nine questions and dies. The same command resumes from its journal until nothing is left.
    @Test
    void aProgramThatDiesIsResumed() throws IOException, InterruptedException {
        String judge = command("dies", "9");
        Path journal = temporary.resolve("judge.jsonl");
        int deaths = 0;
        GeneratedPairs.Made made = null;
        while (made == null) {
            try {
                made = run(judge, "out");
            } catch (IOException e) {
                deaths++;
                assertThat(e)
                        .hasMessageContaining("exit code 3) after 9 answers")
                        .hasMessageContaining("Rerun the same command to ask the rest");
                assertThat(temporary.resolve("out").resolve(GeneratedPairs.LIST))
                        .doesNotExist();
                assertThat(Files.readAllLines(journal)).hasSize(9 * deaths).doesNotHaveDuplicates();
            }
        }
        assertThat(deaths).isGreaterThan(2);
        assertThat(made).isEqualTo(new GeneratedPairs.Made(4, 1));
        assertThat(images("out")).isEqualTo(BEST_AGAINST_WORST);
        List<String> lines = Files.readAllLines(temporary.resolve("out").resolve(GeneratedPairs.LIST));
        run(command("p"), "whole");
        assertThat(Files.readAllLines(temporary.resolve("whole").resolve(GeneratedPairs.LIST)))
                .isEqualTo(lines);
    }

    @Test
    void wrongAnswersAreNamed() {
        assertRefused(command("garbage"), "lines that are none, the first: Loading the model ...", "standard error");
        assertRefused(command("nan"), "p: expected a number from 0 to 1, found NaN");
        assertRefused(command("range"), "p: expected a number from 0 to 1, found 1.5");
        assertRefused(command("both"), "expected {\"id\", \"p\"", "found {\"id\": \"1\"");
        assertRefused("command:/no/such/program x", "judge: /no/such/program: expected a program that can be started");
    }

    @Test
    void aSilentProgramIsNotWaitedForLong() {
        assertThatThrownBy(() -> GeneratedPairs.write(impatient(command("silent")), message -> {}))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("expected an answer within 2 seconds, found none to 4 questions");
        assertThatThrownBy(() -> GeneratedPairs.write(impatient(command("mute")), message -> {}))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("1 lines were no answers, the first: Loading the model ...");
    }

    private PairsRequest impatient(String judge) {
        return new PairsRequest(
                evaluation,
                Optional.empty(),
                List.of(),
                Combination.CALIBRATED,
                PairRule.TOURNAMENT,
                Optional.of(PairsRequest.judge(judge, temporary.resolve("judge.jsonl"), Duration.ofSeconds(2))),
                TournamentLoser.RANDOM,
                1,
                0,
                0,
                temporary.resolve("out"));
    }

    private void assertRefused(String judge, String... parts) {
        assertThatThrownBy(() -> run(judge, "refused"))
                .as(judge)
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll(parts);
    }

    @Test
    void judgesAreReadStrictly() {
        for (String wrong : List.of("", "score", "score:", "vote:a", "command:", "command: ")) {
            assertThatThrownBy(() -> PairsRequest.judge(wrong, temporary, Duration.ofSeconds(1)))
                    .as(wrong)
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("judge: expected score:NAME[:T], majority:NAME,NAME,... or command:");
        }
        assertThat(PairsRequest.judge("command:py 'a b' --x=\"c d\" e", temporary, Duration.ofSeconds(1)))
                .isInstanceOfSatisfying(
                        PairsRequest.ExternalJudge.class,
                        judge -> assertThat(judge.words()).containsExactly("py", "a b", "--x=c d", "e"));
    }
}
