package org.smpo.iterate;

import java.io.IOException;
import java.util.List;
import org.smpo.parallel.Peers;
import org.smpo.train.TrainingResult.Ending;

/// A stage of an iteration: the work of one command.
interface Stage {
    /// Returns the name in messages, such as `round 2: pairs`.
    String name();

    /// Returns the words of the command after `smpo`.
    List<String> words();

    /// Returns whether an earlier process finished the stage.
    ///
    /// @throws IOException when what it left cannot be read
    boolean isDone() throws IOException;

    /// Does the work. A stage that was interrupted resumes.
    ///
    /// @param peers processes that share the work; rank 0 writes its files
    /// @throws IllegalArgumentException when the recipe does not suit the model, the rewards or the
    ///     images
    /// @throws IOException when a file cannot be read or written; what was finished before is intact
    Ending run(Peers peers, Iteration.Listener listener) throws IOException, InterruptedException;
}
