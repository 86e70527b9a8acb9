package org.smpo.cli;

import java.io.PrintWriter;
import org.smpo.report.Progress;
import org.smpo.reward.ScoreRun;

/// Progress bar of a task over the pairs of one dataset after another. It starts with the first batch,
/// when it is known how much an earlier run has done, and again when a dataset begins from its start.
final class PairBar implements ScoreRun.Progress, AutoCloseable {
    private final Progress.Display display;
    private final String task;
    private Progress progress;
    private int last;

    PairBar(PrintWriter err, String task) {
        this.display = Progress.Display.ofStandardError(err);
        this.task = task;
    }

    @Override
    public void done(int before, int done, int all) {
        if (progress != null && done <= last) {
            close();
        }
        if (progress == null) {
            progress = new Progress(display, task, "pair", before, all);
        }
        progress.to(done);
        last = done;
    }

    @Override
    public void close() {
        if (progress != null) {
            progress.close();
            progress = null;
        }
    }
}
