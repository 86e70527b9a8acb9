package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.smpo.evaluate.GeneratedPairs;
import org.smpo.evaluate.PairsRequest;
import org.smpo.evaluate.PairsRequest.JudgeSpec;
import org.smpo.evaluate.PairsRequest.Measure;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble.Combination;
import org.smpo.objective.TournamentLoser;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo data pairs`: selects preference pairs among the images of each prompt of an evaluation.
@Command(
        name = "pairs",
        description = {
            "Build preference pairs from images that a model generated.",
            "EVALUATION is a folder written by smpo evaluate with several images per prompt (--images) and a reward.",
            "The images of a prompt are compared by rewards (--by), or by a judge in a tournament."
        },
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:pairs written", "1:failure; rerun the same command to resume", "2:wrong usage"})
final class DataPairs implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(paramLabel = "EVALUATION", description = "Folder of the evaluation")
    private Path evaluation;

    @Option(
            names = "--by",
            paramLabel = "NAME[:T[:W]]",
            description = {
                "Name, in the evaluation, of a reward that scores the images; repeat for several rewards.",
                "Scores divided by the temperature T are log-odds. auto is the typical deviation within a prompt"
                        + " (default: the published temperature of the reward's kind, else auto). W is the weight of the"
                        + " reward (default: 1)"
            })
    private List<String> by = List.of();

    @Option(
            names = "--select",
            paramLabel = "RULE",
            defaultValue = "best-worst",
            completionCandidates = Choices.PairRules.class,
            description = "Rule that selects pairs: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE})")
    private String select;

    @Option(
            names = "--combine",
            paramLabel = "HOW",
            completionCandidates = Choices.Combinations.class,
            description = "Combination of the rewards into one score: ${COMPLETION-CANDIDATES} (default: raw for one"
                    + " reward, calibrated for several)")
    private String combine;

    @Option(
            names = "--per-prompt",
            paramLabel = "N",
            defaultValue = "1",
            description = "Largest number of pairs per prompt (default: ${DEFAULT-VALUE})")
    private int perPrompt;

    @Option(
            names = "--min-preference",
            paramLabel = "X",
            defaultValue = "0",
            description = "Least preference of a pair, 2p - 1 with the probability p that the winner is better, from 0"
                    + " to below 1 (default: ${DEFAULT-VALUE})")
    private double minPreference;

    @Option(
            names = "--seed",
            paramLabel = "S",
            defaultValue = "0",
            description = "Seed of the random choices (default: ${DEFAULT-VALUE})")
    private long seed;

    @Option(
            names = "--judge",
            paramLabel = "JUDGE",
            description = {
                "Judge of a tournament: score:NAME[:T], majority:NAME,NAME,... or command:PROGRAM ARGUMENTS.",
                "A program reads JSON lines with id, prompt, image_0 and image_1, and writes lines with id and either"
                        + " p, the probability that image 0 is better, or choice: 0, 1 or \"tie\""
            })
    private String judge;

    @Option(
            names = "--loser",
            paramLabel = "WHICH",
            defaultValue = "random",
            completionCandidates = Choices.Losers.class,
            description = "Image that loses to the champion of a tournament: ${COMPLETION-CANDIDATES} (default:"
                    + " ${DEFAULT-VALUE})")
    private String loser;

    @Option(
            names = "--judge-journal",
            paramLabel = "FILE",
            description = "File of a program's answers, which are not asked for again (default: judge.jsonl in --out)")
    private Path journal;

    @Option(
            names = "--judge-timeout",
            paramLabel = "SECONDS",
            defaultValue = "120",
            description = "Longest time to wait for an answer of a program, in seconds (default: ${DEFAULT-VALUE})")
    private int timeout;

    @Option(
            names = "--model",
            paramLabel = "NAME",
            description = "Name, in the evaluation, of the model whose images to use (default: the first model)")
    private String model;

    @Option(
            names = "--out",
            required = true,
            paramLabel = "DIR",
            description = "Folder for pairs.jsonl and the images; created if missing")
    private Path out;

    DataPairs() {}

    @Override
    public Integer call() throws IOException, InterruptedException {
        if (!Files.isDirectory(evaluation)) {
            throw usage("EVALUATION: " + evaluation + ": expected an evaluation's folder, found "
                    + (Files.exists(evaluation) ? "a file" : "nothing"));
        }
        if (Files.exists(out) && !Files.isDirectory(out)) {
            throw usage("--out: " + out + ": expected a folder, found a file");
        }
        if (Files.exists(out.resolve(GeneratedPairs.LIST))) {
            throw usage("--out: " + out.resolve(GeneratedPairs.LIST)
                    + " exists already; remove it or choose another folder");
        }
        GeneratedPairs.Made made;
        try {
            made = GeneratedPairs.write(request(), spec.commandLine().getErr()::println);
        } catch (IllegalArgumentException e) {
            throw usage(e.getMessage());
        }
        PrintWriter output = spec.commandLine().getOut();
        output.println(made.pairs() + " pairs in " + out + ", " + made.ties() + " prompts without one");
        output.flush();
        return 0;
    }

    private PairsRequest request() {
        List<Measure> measures = by.stream().map(Measure::parse).toList();
        Combination combination = combine == null
                ? PairsRequest.combinationOf(measures)
                : Choices.parse("--combine", Choices.COMBINATIONS, PairsRequest::id, combine);
        if (timeout < 1) {
            throw usage("--judge-timeout: expected 1 or more, got " + timeout);
        }
        Optional<JudgeSpec> judging = Optional.ofNullable(judge)
                .map(text -> PairsRequest.judge(
                        text, journal == null ? out.resolve("judge.jsonl") : journal, Duration.ofSeconds(timeout)));
        return new PairsRequest(
                evaluation,
                Optional.ofNullable(model),
                measures,
                combination,
                Choices.parse("--select", Choices.PAIR_RULES, PairRule::id, select),
                judging,
                Choices.parse("--loser", Choices.LOSERS, TournamentLoser::id, loser),
                perPrompt,
                minPreference,
                seed,
                out);
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }
}
