package org.smpo.train;

import java.nio.file.Files;
import java.nio.file.Path;

/// A process that makes a run, or goes on with it, until it is killed or done.
final class TrainerChild {
    private TrainerChild() {}

    /// Arguments: the folder of [TinyRun], the name of the run, overrides.
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
