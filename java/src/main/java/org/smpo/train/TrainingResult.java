package org.smpo.train;

import java.nio.file.Path;
import java.util.List;

/// The outcome of [Trainer#run()].
///
/// @param steps number of steps taken in the whole run
/// @param ending why the run ended
/// @param reason the health warning that ended the run; empty for other endings
/// @param checkpoint folder of the newest checkpoint; null when there is none
/// @param written files and folders of the tuned model; empty when the run is not finished
public record TrainingResult(long steps, Ending ending, String reason, Path checkpoint, List<Path> written) {
    /// Why [Trainer#run()] returned.
    public enum Ending {
        /// All steps are taken and the tuned model is written.
        FINISHED,
        /// [Trainer#stop()] was called.
        STOPPED,
        /// A health warning ended the run.
        UNHEALTHY
    }

    /// A sentence about a run that stopped before its end.
    public String describe() {
        String why = ending == Ending.STOPPED ? "on request" : reason;
        return "stopped after step " + steps + " (" + why + "); "
                + (checkpoint == null ? "there is no checkpoint yet" : "the newest checkpoint is " + checkpoint);
    }

    /// Whether all steps are taken and the tuned model is written.
    public boolean finished() {
        return ending == Ending.FINISHED;
    }
}
