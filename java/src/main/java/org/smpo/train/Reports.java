package org.smpo.train;

import java.io.IOException;
import java.util.OptionalLong;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;

/// The held-out evaluations and the samples of a run, which follow some of its steps.
final class Reports {
    private final Recipe recipe;
    private final Setup setup;
    private final Run run;
    private final Trainer.Listener listener;
    private final StepLog entries;
    private final HeldOutEvaluation heldOut;

    Reports(Recipe recipe, Setup setup, Run run, StepLog entries, Peers peers, Trainer.Listener listener) {
        this.recipe = recipe;
        this.setup = setup;
        this.run = run;
        this.entries = entries;
        this.listener = listener;
        this.heldOut = new HeldOutEvaluation(recipe, setup, peers, listener::warn);
    }

    /// Whether an evaluation or samples follow the last step taken.
    ///
    /// @param done number of steps taken
    boolean areDue(long done) {
        return isDue(recipe.evaluate().every(), done) || isDue(recipe.samples().every(), done);
    }

    private boolean isDue(OptionalLong every, long done) {
        return every.isPresent()
                && (done % every.getAsLong() == 0 || done == recipe.train().steps());
    }

    /// Evaluates the held-out pairs and generates samples, where they follow the last step taken.
    ///
    /// @param done number of steps taken
    void write(long done) throws IOException, InterruptedException {
        if (isDue(recipe.evaluate().every(), done)) {
            HeldOutEvaluation.Totals totals = heldOut.run();
            run.log(done, "held_out", entries.evaluation(done, totals.own(), totals.forward()));
            listener.say(heldOut.describe(done, totals));
        }
        if (isDue(recipe.samples().every(), done)) {
            run.writeSamples(setup.samples().orElseThrow(), done);
        }
    }
}
