package org.smpo.iterate;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalDouble;
import org.smpo.evaluate.EvaluationRequest;
import org.smpo.recipe.IterateRecipe;
import org.smpo.report.Progress;
import org.smpo.train.Trainer;

/// Another process that begins or resumes rounds, until it is killed or they end.
final class IterationChild {
    private static final EvaluationRequest.Provenance PROGRAM =
            new EvaluationRequest.Provenance("test", "test", "test", "");

    private IterationChild() {}

    /// Starts a child whose error stream is merged into its output.
    static Process start(Path root) throws IOException {
        return new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-XX:TieredStopAtLevel=1",
                        "-Dsmpo.library=" + System.getProperty("smpo.library"),
                        "-Dsmpo.root=" + System.getProperty("smpo.root"),
                        "-cp",
                        System.getProperty("java.class.path"),
                        IterationChild.class.getName(),
                        root.toString())
                .redirectErrorStream(true)
                .start();
    }

    public static void main(String[] arguments) throws Exception {
        run(new TinyRounds(Path.of(arguments[0])));
        System.out.println("done");
    }

    /// Runs the rounds to their end.
    static void run(TinyRounds rounds) throws IOException, InterruptedException {
        boolean resume = Files.exists(rounds.output().resolve("rounds.yaml"));
        IterateRecipe recipe = IterateRecipe.read(rounds.recipe(), List.of());
        try (Iteration iteration = Iteration.open(recipe, resume, rounds.cache(), PROGRAM, new Said())) {
            iteration.run();
        }
    }

    /// Prints the number of each stage that begins.
    private static final class Said implements Iteration.Listener {
        private final PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);

        @Override
        public void stage(int number, int of, String what) {
            out.println((what.startsWith("smpo ") ? "stage " : "skipped ") + number);
        }

        @Override
        public Progress.Display display() {
            return Progress.Display.ofStandardError(new PrintWriter(System.err, true, StandardCharsets.UTF_8));
        }

        @Override
        public void training(Trainer trainer, long steps) {}

        @Override
        public void trained() {}

        @Override
        public boolean isStopRequested() {
            return false;
        }

        @Override
        public void say(String message) {}

        @Override
        public void warn(String message) {
            out.println("warning: " + message);
        }

        @Override
        public void stepped(long done, long of, double loss, OptionalDouble implicitAccuracy) {}
    }
}
