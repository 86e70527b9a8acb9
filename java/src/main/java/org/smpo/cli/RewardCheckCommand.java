package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.smpo.data.PairSource;
import org.smpo.objective.PairAccuracy;
import org.smpo.report.Progress;
import org.smpo.reward.PairBar;
import org.smpo.reward.Reward;
import org.smpo.reward.RewardCheck;
import org.smpo.reward.RewardSource;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo reward check`: compares a reward with the choices of people.
@Command(
        name = "check",
        description = {
            "Compare a reward with the choices of people.",
            "Prints the share of pairs whose better image has the higher score, and the temperature that makes the"
                    + " scores the best log-odds of the choices, with their negative log-likelihood."
        },
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:checked", "1:failure", "2:wrong usage"})
final class RewardCheckCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            paramLabel = "[KIND:]REWARD",
            completionCandidates = Choices.RewardKinds.class,
            description = "File or folder of a reward model. KIND: ${COMPLETION-CANDIDATES} (default: the kind that the"
                    + " files show)")
    private String reward;

    @Option(names = "--pairs", required = true, paramLabel = "DATA", description = OptionTexts.HUMAN_PAIRS)
    private Path pairs;

    @Mixin
    private PairOptions data;

    @Mixin
    private ComputeOptions compute;

    RewardCheckCommand() {}

    @Override
    public Integer call() throws IOException {
        RewardSource source = data.reward("REWARD", reward);
        RewardCheck check;
        try (PairBar bar = new PairBar(
                        Progress.Display.ofStandardError(spec.commandLine().getErr()), "score");
                PairSource human = data.open(pairs);
                Reward open = source.open(compute.device(), compute.precision(), compute.threads())) {
            check = RewardCheck.of(open, human, data.reading(bar));
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
        report(check, source.kind().published().temperature());
        return 0;
    }

    private void report(RewardCheck check, double usual) {
        PairAccuracy accuracy = check.accuracy();
        PrintWriter output = spec.commandLine().getOut();
        output.println("pairs: " + accuracy.pairs() + ", " + check.without() + " without a better image, " + check.bad()
                + " bad");
        output.printf(Locale.ROOT, "accuracy: %.1f %%%n", 100 * accuracy.accuracy());
        if (accuracy.temperature().isPresent()) {
            output.printf(
                    Locale.ROOT,
                    "best temperature: %.6g (%.4f nats per pair; a coin has 0.6931)%n",
                    accuracy.temperature().getAsDouble(),
                    accuracy.nats());
        } else {
            output.println("best temperature: none, since the scores "
                    + (accuracy.nats() == 0 ? "are never against the choices" : "do not favour the choices"));
        }
        if (!Double.isNaN(usual)) {
            output.printf(
                    Locale.ROOT,
                    "usual temperature: %s (%.4f nats per pair)%n",
                    usual,
                    PairAccuracy.nats(check.leads(), usual));
        }
        output.flush();
    }
}
