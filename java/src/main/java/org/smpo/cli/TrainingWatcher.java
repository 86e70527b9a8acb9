package org.smpo.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.OptionalDouble;
import org.smpo.parallel.World;
import org.smpo.report.Progress;
import org.smpo.train.Trainer;

/// Shows a training run on the error stream. Of several processes, all show their warnings, and rank 0
/// the rest.
final class TrainingWatcher implements Trainer.Listener, AutoCloseable {
    private final PrintWriter err;
    private final World world;
    private Progress progress;

    TrainingWatcher(PrintWriter err) {
        this(err, World.ALONE);
    }

    TrainingWatcher(PrintWriter err, World world) {
        this.err = err;
        this.world = world;
    }

    /// Shows a progress bar until [#end()].
    void begin(long done, long steps) {
        if (world.isFirst()) {
            progress = new Progress(Progress.Display.ofStandardError(err), "train", "step", done, steps);
        }
    }

    void end() {
        if (progress != null) {
            progress.close();
            progress = null;
        }
    }

    @Override
    public void say(String message) {
        if (world.isFirst()) {
            print(message);
        }
    }

    private void print(String message) {
        if (progress != null) {
            progress.println(message);
        } else {
            err.println(message);
            err.flush();
        }
    }

    @Override
    public void warn(String message) {
        print((world.isFirst() ? "" : "rank " + world.rank() + ": ") + "warning: " + message);
    }

    @Override
    public void stepped(long done, long of, double loss, OptionalDouble accuracy) {
        if (progress != null) {
            String said = String.format(Locale.ROOT, "loss %.4g", loss);
            if (accuracy.isPresent()) {
                said += String.format(Locale.ROOT, ", accuracy %.0f %%", 100 * accuracy.getAsDouble());
            }
            progress.to(done, said);
        }
    }

    @Override
    public void close() {
        end();
    }
}
