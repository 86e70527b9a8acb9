package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// A process that starts or resumes a run, until it is killed or the run ends.
final class TrainerChild {
    private TrainerChild() {}

    /// Starts a child whose error stream is merged into its output.
    ///
    /// @param root folder of an existing [TinyRun]
    /// @param environment variables added to those of this process
    static Process start(Path root, String name, Map<String, String> environment, String... overrides)
            throws IOException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-XX:TieredStopAtLevel=1",
                "-Dsmpo.library=" + System.getProperty("smpo.library"),
                "-Dsmpo.root=" + System.getProperty("smpo.root"),
                "-cp",
                System.getProperty("java.class.path"),
                TrainerChild.class.getName(),
                root.toString(),
                name));
        command.addAll(List.of(overrides));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(environment);
        return builder.start();
    }

    /// Runs the child. Arguments: folder of the [TinyRun], name of the run, overrides.
    public static void main(String[] arguments) throws Exception {
        TinyRun tiny = TinyRun.at(Path.of(arguments[0]));
        String[] overrides = new String[arguments.length - 2];
        System.arraycopy(arguments, 2, overrides, 0, overrides.length);
        boolean resume = Files.exists(tiny.output(arguments[1]).resolve("recipe.yaml"));
        say("begin");
        try (Trainer trainer =
                Trainer.open(tiny.recipe(arguments[1], overrides), resume, tiny.cache(), new TinyRun.Said())) {
            say("open");
            trainer.run();
        }
        say("done");
    }

    private static void say(String word) {
        System.out.println(word);
        System.out.flush();
    }
}
