package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import org.smpo.cache.Cache;
import org.smpo.doctor.BuildInfo;
import org.smpo.evaluate.EvaluationRequest;
import org.smpo.iterate.Iteration;
import org.smpo.iterate.IterationPlan;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.recipe.IterateRecipe;
import org.smpo.recipe.RecipeException;
import org.smpo.report.Progress;
import org.smpo.train.GracefulShutdown;
import org.smpo.train.Trainer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo iterate`: runs the rounds of a recipe.
@Command(
        name = "iterate",
        description = {
            "Tune a model on its own images, round after round: generate and score images, make preference pairs of"
                    + " them, and train on the pairs. A reward may be trained on the images as well.",
            "Each stage is an smpo command, which is printed before it runs. Stages whose result is there are skipped."
        },
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:all rounds finished",
            "1:failure, or stopped by the health checks",
            "2:wrong usage or recipe",
            "130:stopped by Ctrl-C; rerun with --resume (143: by SIGTERM)"
        })
final class Iterate implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "RECIPE",
            completionCandidates = Choices.IterateRecipes.class,
            description =
                    "YAML file with a rounds section, or the name of a built-in recipe:" + " ${COMPLETION-CANDIDATES}")
    private Path recipe;

    @Option(names = "--set", paramLabel = "KEY=VALUE", description = OptionTexts.SET)
    private List<String> overrides = List.of();

    @Option(names = "--resume", description = "Resume the rounds in the recipe's output folder")
    private boolean resume;

    @Option(
            names = "--dry-run",
            description = "Check the recipe, the model, the rewards and the prompts; print the resolved recipe and the"
                    + " commands of all stages")
    private boolean dryRun;

    @Option(names = "--cache", paramLabel = "DIR", description = OptionTexts.CACHE)
    private Path cache;

    @Mixin
    private WorldOptions processes;

    Iterate() {}

    @Override
    public Integer call() throws IOException, InterruptedException {
        IterateRecipe resolved;
        try {
            resolved = IterateRecipe.read(recipe, overrides);
        } catch (RecipeException e) {
            throw usage(e.getMessage(), e);
        }
        if (dryRun && resume) {
            throw usage("--dry-run and --resume: expected one of them, got both", null);
        }
        Path cacheFolder = cache == null ? Cache.defaultFolder() : cache;
        BuildInfo build = BuildInfo.read();
        EvaluationRequest.Provenance program =
                new EvaluationRequest.Provenance(build.version(), build.commit(), build.library(), "");
        try {
            return dryRun
                    ? dryRun(IterationPlan.of(resolved, cacheFolder, program, World.ALONE))
                    : Stoppable.run(spec.commandLine().getErr(), ending -> run(resolved, cacheFolder, program, ending));
        } catch (IllegalArgumentException e) {
            throw usage(e.getMessage(), e);
        }
    }

    private int dryRun(IterationPlan plan) {
        PrintWriter out = spec.commandLine().getOut();
        out.print(plan.recipe().resolved());
        out.println();
        plan.commands().forEach(out::println);
        out.println();
        int rounds = plan.recipe().rounds().count();
        long steps = plan.recipe().training().train().steps();
        out.println(rounds + (rounds == 1 ? " round, " : " rounds, ") + plan.images() + " images, " + rounds * steps
                + " training steps");
        out.flush();
        return 0;
    }

    private int run(
            IterateRecipe resolved, Path cacheFolder, EvaluationRequest.Provenance program, GracefulShutdown ending)
            throws IOException, InterruptedException {
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        try (InterruptNotice _ = new InterruptNotice(spec, "rerun with --resume");
                Peers peers = processes.open();
                Watcher watcher = new Watcher(err, ending, peers.world());
                Iteration iteration = Iteration.open(resolved, resume, cacheFolder, program, peers, watcher)) {
            return switch (iteration.run()) {
                case FINISHED -> {
                    iteration.reportFile().ifPresent(out::println);
                    out.flush();
                    yield 0;
                }
                case STOPPED -> {
                    Notices.print(spec, "stopped on request; rerun with --resume");
                    yield ending.stoppedCode();
                }
                case UNHEALTHY -> {
                    Notices.print(
                            spec,
                            "stopped by a health check; begin again in another output with other settings, or set the"
                                    + " check's key to none");
                    yield 1;
                }
            };
        }
    }

    private ParameterException usage(String message, Throwable cause) {
        return new ParameterException(spec.commandLine(), message, cause);
    }

    /// Shows rounds on the error stream, and lets the user stop a training run with a checkpoint.
    private static final class Watcher implements Iteration.Listener, AutoCloseable {
        private final PrintWriter err;
        private final GracefulShutdown ending;
        private final TrainingWatcher training;

        Watcher(PrintWriter err, GracefulShutdown ending, World world) {
            this.err = err;
            this.ending = ending;
            this.training = new TrainingWatcher(err, world);
        }

        @Override
        public void stage(int number, int of, String what) {
            say("[" + number + "/" + of + "] " + what);
        }

        @Override
        public Progress.Display display() {
            return Progress.Display.ofStandardError(err);
        }

        @Override
        public void training(Trainer trainer, long steps) {
            ending.stopWith(trainer::stop);
            training.begin(trainer.done(), steps);
        }

        @Override
        public void trained() {
            training.end();
            ending.stopAtOnce();
        }

        @Override
        public boolean isStopRequested() {
            return ending.isRequested();
        }

        @Override
        public void say(String message) {
            training.say(message);
        }

        @Override
        public void warn(String message) {
            training.warn(message);
        }

        @Override
        public void stepped(long done, long of, double loss, OptionalDouble accuracy) {
            training.stepped(done, of, loss, accuracy);
        }

        @Override
        public void close() {
            training.close();
        }
    }
}
