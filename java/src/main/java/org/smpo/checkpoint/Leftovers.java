package org.smpo.checkpoint;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/// Content of a model's files that the model does not use, collected while they are read.
final class Leftovers {
    private final List<String> ignored = new ArrayList<>();
    private final List<String> notices = new ArrayList<>();

    /// Records a tensor that is never a parameter, such as position ids or EMA weights.
    void ignore(String tensor) {
        ignored.add(tensor);
    }

    /// Records tensors that have no place in the model, as one line.
    void extra(String where, List<String> tensors) {
        if (!tensors.isEmpty()) {
            ignored.addAll(tensors);
            notices.add(where + ": " + tensors.size()
                    + (tensors.size() == 1 ? " tensor is not part" : " tensors are not part")
                    + " of the model and left out, such as " + tensors.getFirst());
        }
    }

    /// Records what a person should know about the files.
    void notice(String line) {
        notices.add(line);
    }

    List<String> ignored() {
        return Collections.unmodifiableList(ignored);
    }

    List<String> notices() {
        return Collections.unmodifiableList(notices);
    }
}
