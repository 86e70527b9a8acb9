package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.smpo.data.GoldPairs;
import org.smpo.data.PairSource;
import org.smpo.evaluate.Evaluation;
import org.smpo.io.Closer;
import org.smpo.objective.GuardedFit;
import org.smpo.objective.HeadFeatures;
import org.smpo.objective.PairAccuracy;
import org.smpo.report.Progress;
import org.smpo.reward.FeatureModel;
import org.smpo.reward.HeadFit;
import org.smpo.reward.PairBar;
import org.smpo.reward.RewardSource;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo reward fit`: fits a head to the embeddings of a CLIP model.
@Command(
        name = "fit",
        description = {
            "Fit a head to the embeddings of a CLIP model, and write it as a reward of kind head.",
            "With --pairs it is a reward: the model's own score plus what the head learns from the choices of people.",
            "With --target and --source it is a classifier: the log-odds that an image is of the target.",
            "About a fifth of the captions are held out, on which the accuracy is measured."
        },
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:head written", "1:failure", "2:wrong usage"})
final class RewardFit implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            paramLabel = "[KIND:]MODEL",
            description = "CLIP model, or a reward that is one: clip, pickscore or hpsv2")
    private String model;

    @Option(names = "--pairs", paramLabel = "DATA", description = OptionTexts.HUMAN_PAIRS)
    private Path pairs;

    @Option(
            names = "--pairs-game",
            paramLabel = "DATA",
            description = "Pairs whose better image is a gold one and whose other image was generated")
    private Path game;

    @Option(
            names = "--generated",
            paramLabel = "EVALUATION",
            description = "Folder of a finished smpo evaluate, in place of --pairs-game: each image of its first model"
                    + " is paired with the gold image of its prompt, the one that people chose in the first pair of"
                    + " --pairs with that caption")
    private Path generated;

    @Option(
            names = "--game-weight",
            paramLabel = "X",
            defaultValue = "0.1",
            description = "Weight of the pairs of gold and generated images, where --pairs has 1 (default:"
                    + " ${DEFAULT-VALUE})")
    private double gameWeight;

    @Option(
            names = "--guard",
            paramLabel = "X",
            defaultValue = "0.01",
            description = "Accuracy on held-out pairs that gold and generated images may cost; beyond it, their weight"
                    + " is halved, and after five times set to 0 (default: ${DEFAULT-VALUE})")
    private double guard;

    @Option(names = "--target", paramLabel = "DATA", description = "Pairs with images of the first set, the target")
    private Path target;

    @Option(names = "--source", paramLabel = "DATA", description = "Pairs with images of the second set")
    private Path source;

    @Option(
            names = "--features",
            paramLabel = "WHAT",
            completionCandidates = Choices.Features.class,
            defaultValue = "both",
            description = OptionTexts.HEAD_FEATURES)
    private String features;

    @Option(names = "--l2", paramLabel = "X", defaultValue = "0.001", description = OptionTexts.L2)
    private double l2;

    @Option(
            names = "--temperature",
            paramLabel = "T",
            description = "Temperature that makes the model's own score a logit (default: that of its kind)")
    private Double temperature;

    @Option(names = "--out", required = true, paramLabel = "HEAD", description = "Folder to write the head to")
    private Path out;

    @Mixin
    private PairOptions data;

    @Mixin
    private ComputeOptions compute;

    RewardFit() {}

    @Override
    public Integer call() throws IOException {
        requireUsage();
        RewardSource base = data.reward("MODEL", model);
        try (Closer parts = new Closer()) {
            PairBar bar = parts.add(new PairBar(
                    Progress.Display.ofStandardError(spec.commandLine().getErr()), "embed"));
            HeadFit fit = new HeadFit(
                    parts.add(FeatureModel.open(
                            base, compute.device(), compute.precision(), compute.threads(), data.reading(bar))),
                    Choices.parse("--features", Choices.HEAD_FEATURES, HeadFeatures::id, features),
                    l2);
            if (pairs == null) {
                PairSource first = parts.add(data.open(target));
                PairSource second = parts.add(data.open(source));
                report(fit.ofDomains(first, second, out));
            } else {
                PairSource human = parts.add(data.open(pairs));
                Optional<HeadFit.Game> played =
                        game(human, parts).map(source -> new HeadFit.Game(source, gameWeight, guard));
                double divisor = temperature == null ? base.kind().published().temperature() : temperature;
                report(fit.ofPairs(human, played, divisor, out));
            }
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
        return 0;
    }

    /// The pairs of gold and generated images.
    private Optional<PairSource> game(PairSource human, Closer parts) throws IOException {
        if (generated != null) {
            return Optional.of(parts.add(GoldPairs.of(human, Evaluation.images(generated))));
        }
        return game == null ? Optional.empty() : Optional.of(parts.add(data.open(game)));
    }

    private void requireUsage() {
        boolean domains = target != null && source != null;
        boolean half = (target == null) != (source == null);
        if (half || domains == (pairs != null)) {
            throw usage("expected either --pairs, or --target and --source");
        }
        if (pairs == null && (game != null || generated != null || temperature != null)) {
            throw usage("--pairs-game, --generated and --temperature go with --pairs");
        }
        if (game != null && generated != null) {
            throw usage("expected one of --pairs-game and --generated, got both");
        }
        if (temperature != null && !(temperature > 0 && temperature < Double.POSITIVE_INFINITY)) {
            throw usage("--temperature: expected a number above 0, got " + temperature);
        }
        if (!(gameWeight >= 0 && gameWeight < Double.POSITIVE_INFINITY)) {
            throw usage("--game-weight: expected a number of 0 or more, got " + gameWeight);
        }
        if (!(guard >= 0 && guard <= 1)) {
            throw usage("--guard: expected 0 to 1, got " + guard);
        }
        if (!(l2 > 0 && l2 < Double.POSITIVE_INFINITY)) {
            throw usage("--l2: expected a number above 0, got " + l2);
        }
        if (Files.exists(out)) {
            throw usage("--out: " + out + " exists already; remove it or choose another folder");
        }
    }

    private void report(HeadFit.PairsOutcome outcome) {
        GuardedFit fit = outcome.fit();
        fit.warning(gameWeight).ifPresent(warning -> Notices.print(spec, "warning: " + warning));
        if (outcome.fitted() + outcome.heldOut() < HeadFit.FEWEST_PAIRS) {
            Notices.print(
                    spec,
                    "warning: " + (outcome.fitted() + outcome.heldOut()) + " pairs are few for a head of "
                            + fit.fit().weights().length + " weights; give at least " + HeadFit.FEWEST_PAIRS);
        }
        PrintWriter output = spec.commandLine().getOut();
        output.println(out);
        output.println("pairs: " + outcome.fitted() + " fitted to, " + outcome.heldOut() + " held out, "
                + outcome.without() + " without a better image, " + outcome.bad() + " bad");
        output.println("held out: accuracy " + percent(fit.heldOut()) + ", without the head " + percent(fit.base()));
        fit.game()
                .ifPresent(
                        played -> output.println("game: weight " + fit.gameWeight() + ", accuracy " + percent(played)));
        output.flush();
    }

    private void report(HeadFit.DomainsOutcome outcome) {
        PrintWriter output = spec.commandLine().getOut();
        output.println(out);
        output.println("images: " + outcome.fitted() + " fitted to, " + outcome.heldOut() + " held out");
        output.printf(Locale.ROOT, "held out: accuracy %.1f %%%n", 100 * outcome.accuracy());
        output.flush();
    }

    private static String percent(PairAccuracy accuracy) {
        return String.format(Locale.ROOT, "%.1f %%", 100 * accuracy.accuracy());
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }
}
