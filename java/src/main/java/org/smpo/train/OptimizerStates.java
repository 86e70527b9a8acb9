package org.smpo.train;

import java.util.Comparator;
import java.util.List;
import org.smpo.ffi.NativeOptimizer;
import org.smpo.ffi.StateInfo;
import org.smpo.parallel.Peers;

/// The state of an optimizer on its way into a checkpoint, tensor by tensor in the order of the file.
///
/// Where processes share the state, reading a tensor is a call of all of them. So all read every tensor, whatever
/// happens to the file: closing reads those that are left.
final class OptimizerStates implements AutoCloseable {
    private final NativeOptimizer optimizer;
    private final Peers peers;
    private final boolean shared;
    private final List<StateInfo> tensors;
    private int next;

    /// @param shared whether the processes share the state
    OptimizerStates(NativeOptimizer optimizer, Peers peers, boolean shared) {
        this.optimizer = optimizer;
        this.peers = peers;
        this.shared = shared;
        // All have one dtype, so the file's order is that of the names, which are ASCII.
        this.tensors = optimizer.states().stream()
                .sorted(Comparator.comparing(StateInfo::name))
                .toList();
    }

    /// The tensors, in order.
    List<StateInfo> tensors() {
        return tensors;
    }

    /// Number of updates made.
    long steps() {
        return optimizer.steps();
    }

    /// Returns the values of the next tensor.
    ///
    /// @param name its name
    float[] read(String name) {
        StateInfo state = tensors.get(next);
        if (!state.name().equals(name)) {
            throw new IllegalStateException("optimizer: expected to read " + state.name() + ", got " + name);
        }
        next++;
        return peers.collectively(() -> optimizer.read(state));
    }

    @Override
    public void close() {
        while (shared && next < tensors.size()) {
            read(tensors.get(next).name());
        }
    }
}
