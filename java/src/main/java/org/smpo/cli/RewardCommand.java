package org.smpo.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// `smpo reward`: fits and checks reward models.
@Command(
        name = "reward",
        description = "Fit a reward to human pairs, or check how well a reward agrees with them.",
        mixinStandardHelpOptions = true,
        subcommands = {RewardFit.class, RewardCheckCommand.class})
final class RewardCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    RewardCommand() {}

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing command: fit or check");
    }
}
