package org.smpo.reward;

import org.smpo.report.Progress;

/// Progress bar of a task over the pairs of one dataset after another. It starts with the first batch,
/// when it is known how much an earlier run has done, and again when a dataset begins from its start.
public final class PairBar implements ScoreRun.Progress, AutoCloseable {
    private final Progress.Display display;
    private final String task;
    private Progress progress;
    private int last;

    /// @param task name of the task, such as `score`
    public PairBar(Progress.Display display, String task) {
        this.display = display;
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
