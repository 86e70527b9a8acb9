package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.smpo.cache.Cache;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.RecipeException;
import org.smpo.report.Progress;
import org.smpo.train.DryRun;
import org.smpo.train.GracefulShutdown;
import org.smpo.train.Trainer;
import org.smpo.train.TrainingResult;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo train`: runs a recipe.
@Command(
        name = "train",
        description = "Tune a model on preference pairs as described by a recipe.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:the run finished",
            "1:failure, or stopped by the health checks",
            "2:wrong usage or recipe",
            "130:stopped by Ctrl-C; rerun with --resume (143: by SIGTERM)"
        })
final class Train implements Callable<Integer> {
    private static final double MEBI = 1 << 20;

    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "RECIPE",
            description =
                    "YAML file, or the name of a built-in recipe such as smpo-sd15, smpo-sdxl, smpo-small or dpo-sd15")
    private Path recipe;

    @Option(names = "--set", paramLabel = "KEY=VALUE", description = OptionTexts.SET)
    private List<String> overrides = List.of();

    @Option(names = "--resume", description = "Resume the run in the recipe's output folder")
    private boolean resume;

    @Option(
            names = "--dry-run",
            description =
                    "Check everything, print the resolved recipe and take two steps with a few pairs to estimate time"
                            + " and memory")
    private boolean dryRun;

    @Option(names = "--cache", paramLabel = "DIR", description = OptionTexts.CACHE)
    private Path cache;

    @Mixin
    private WorldOptions processes;

    Train() {}

    @Override
    public Integer call() throws IOException, InterruptedException {
        Recipe resolved;
        try {
            resolved = Recipe.read(recipe, overrides);
        } catch (RecipeException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
        if (dryRun && resume) {
            throw new ParameterException(spec.commandLine(), "--dry-run and --resume: expected one of them, got both");
        }
        World world = processes.world();
        if (dryRun && world.size() > 1) {
            throw new ParameterException(
                    spec.commandLine(),
                    "--dry-run: expected one process, got " + world.size() + "; run it without a launcher");
        }
        PrintWriter err = spec.commandLine().getErr();
        Path cacheFolder = cache == null ? Cache.defaultFolder() : cache;
        if (dryRun) {
            return dryRun(resolved, cacheFolder, new TrainingWatcher(err));
        }
        return Stoppable.run(err, ending -> {
            try (Peers peers = processes.open();
                    TrainingWatcher watcher = new TrainingWatcher(err, world);
                    Trainer trainer = open(resolved, cacheFolder, peers, watcher)) {
                ending.stopWith(trainer::stop);
                watcher.begin(trainer.done(), resolved.train().steps());
                return run(trainer, watcher, ending);
            }
        });
    }

    private Trainer open(Recipe resolved, Path cacheFolder, Peers peers, TrainingWatcher watcher) throws IOException {
        try {
            return Trainer.open(resolved, resume, cacheFolder, peers, watcher);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
    }

    private DryRun openDryRun(Recipe resolved, Path cacheFolder, TrainingWatcher watcher) throws IOException {
        try {
            return DryRun.open(resolved, cacheFolder, watcher);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
    }

    private int dryRun(Recipe resolved, Path cacheFolder, TrainingWatcher watcher)
            throws IOException, InterruptedException {
        PrintWriter out = spec.commandLine().getOut();
        DryRun.Estimate estimate;
        try (DryRun run = openDryRun(resolved, cacheFolder, watcher)) {
            out.print(run.recipe().resolved());
            out.println();
            out.flush();
            Progress.Display display =
                    Progress.Display.ofStandardError(spec.commandLine().getErr());
            try (Progress progress = new Progress(display, "dry run", "step", 0, DryRun.STEPS)) {
                progress.to(0);
                estimate = run.estimate(progress::to);
            }
        }
        if (resolved.trajectory().isPresent()) {
            out.printf(Locale.ROOT, "prompts of rollouts  %,d%n", estimate.trainingPairs());
        } else {
            out.printf(
                    Locale.ROOT,
                    "pairs to train on    %,d (%,d held out)%n",
                    estimate.trainingPairs(),
                    estimate.heldOutPairs());
        }
        out.printf(Locale.ROOT, "trained parameters   %,d%n", estimate.trainedParameters());
        out.printf(
                Locale.ROOT,
                "optimizer state      %,.0f MiB%s%n",
                estimate.optimizerBytes() / MEBI,
                resolved.train().shardOptimizer() ? ", shared by the processes of the run" : "");
        out.printf(Locale.ROOT, "micro-batch          %d pairs%n", estimate.microBatch());
        if (estimate.inversionBatch() > 0) {
            out.printf(Locale.ROOT, "inversion batch      %d images%n", estimate.inversionBatch());
        }
        out.printf(
                Locale.ROOT,
                "a step               %.3g s, measured on %d of its %d pairs%n",
                estimate.stepSeconds(),
                estimate.measuredPairs(),
                resolved.train().pairsPerStep());
        out.printf(Locale.ROOT, "the run              %s%n", duration(estimate.runSeconds()));
        out.printf(Locale.ROOT, "host tensors         %,.0f MiB at most%n", estimate.hostBytesPeak() / MEBI);
        if (estimate.deviceBytesPeak() > 0) {
            out.printf(Locale.ROOT, "device memory        %,.0f MiB at most%n", estimate.deviceBytesPeak() / MEBI);
        }
        out.flush();
        return 0;
    }

    private static String duration(double seconds) {
        long whole = Math.round(seconds);
        return whole < 60
                ? String.format(Locale.ROOT, "%.1f s", seconds)
                : String.format(Locale.ROOT, "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
    }

    private int run(Trainer trainer, TrainingWatcher watcher, GracefulShutdown ending)
            throws IOException, InterruptedException {
        PrintWriter out = spec.commandLine().getOut();
        TrainingResult result = trainer.run();
        watcher.end();
        return switch (result.ending()) {
            case FINISHED -> {
                result.written().forEach(out::println);
                out.flush();
                yield 0;
            }
            case STOPPED -> {
                stopped(out, result);
                yield ending.stoppedCode();
            }
            case UNHEALTHY -> {
                stopped(out, result);
                yield 1;
            }
        };
    }

    /// Rank 0 speaks for all.
    private void stopped(PrintWriter out, TrainingResult result) {
        if (processes.world().isFirst()) {
            out.println(result.describe());
            out.flush();
        }
    }
}
