package org.smpo.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.OptionalDouble;
import org.smpo.report.Progress;
import org.smpo.train.Trainer;

/// Shows a training run on the error stream.
final class TrainingWatcher implements Trainer.Listener, AutoCloseable {
    private final PrintWriter err;
    private Progress progress;

    TrainingWatcher(PrintWriter err) {
        this.err = err;
    }

    /// Shows a progress bar until [#end()].
    void begin(long done, long steps) {
        progress = new Progress(Progress.Display.ofStandardError(err), "train", "step", done, steps);
    }

    void end() {
        if (progress != null) {
            progress.close();
            progress = null;
        }
    }

    @Override
    public void say(String message) {
        if (progress != null) {
            progress.println(message);
        } else {
            err.println(message);
            err.flush();
        }
    }

    @Override
    public void warn(String message) {
        say("warning: " + message);
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
