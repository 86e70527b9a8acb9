package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.Objects;

/// One process's membership in a group of processes that train, score or generate together.
///
/// Built on PyTorch's c10d: rendezvous by a TCPStore on rank 0, collectives by Gloo on CPUs and NCCL on
/// GPUs. Every process makes the same calls in the same order. If a process ends, or is later than the
/// timeout, the calls of the others throw a [PeerLostException]; the group can then only be closed.
/// Belongs to the engine's thread.
public final class ProcessGroup extends Handle {
    private final Engine engine;

    private ProcessGroup(Engine engine, long id, Config config) {
        super(engine.session(), id, "ProcessGroup, rank " + config.rank() + " of " + config.size(), Native::commClose);
        this.engine = engine;
    }

    /// The place of a process in its group.
    ///
    /// @param rank Number of this process, 0 to `size - 1`, different for every process
    /// @param size Number of processes
    /// @param host Name or address at which all processes reach rank 0
    /// @param port Port on which rank 0 listens; a group of one process may have 0, which chooses a free
    ///     port
    /// @param joinTimeout Longest wait for the other processes to arrive
    /// @param timeout Longest wait for the other processes in a later call
    /// @param fingerprint Digest of everything that must agree on all ranks, such as build, recipe and
    ///     data
    /// @param prefix Name that keeps groups apart that share a store
    /// @param storeExists Whether a store listens at host and port already, so that rank 0 only connects
    public record Config(
            int rank,
            int size,
            String host,
            int port,
            Duration joinTimeout,
            Duration timeout,
            String fingerprint,
            String prefix,
            boolean storeExists) {
        public Config {
            Objects.requireNonNull(prefix, "prefix");
            Objects.requireNonNull(joinTimeout, "joinTimeout");
            Objects.requireNonNull(host, "host");
            Objects.requireNonNull(timeout, "timeout");
            Objects.requireNonNull(fingerprint, "fingerprint");
        }
    }

    /// Opens the group once all its processes have arrived.
    ///
    /// @throws PeerLostException naming the ranks that did not come in time
    /// @throws InvalidArgumentException if two processes have the same rank, or one has another size or
    ///     fingerprint
    /// @throws NotSupportedException if rank 0 cannot listen on the port
    public static ProcessGroup open(Engine engine, Config config) {
        long session = engine.enter();
        try (Arena arena = Arena.ofConfined()) {
            Struct struct = Struct.allocate(Native.COMM_CONFIG, arena);
            struct.set("rank", config.rank());
            struct.set("world_size", config.size());
            struct.set("port", config.port());
            struct.set("timeout_millis", config.timeout().toMillis());
            struct.set("host", arena.allocateFrom(config.host()));
            struct.set("fingerprint", arena.allocateFrom(config.fingerprint()));
            struct.set("prefix", arena.allocateFrom(config.prefix()));
            struct.set("join_millis", config.joinTimeout().toMillis());
            struct.set("store_exists", config.storeExists() ? 1 : 0);
            Errors.check(
                    Native.commOpen(
                            session,
                            struct.segment(),
                            engine.result(),
                            engine.error().segment()),
                    engine.error(),
                    "smpo_comm_open");
            return new ProcessGroup(engine, engine.result().get(JAVA_LONG, 0), config);
        }
    }

    /// Replaces a floating-point tensor by its sum over all ranks. Repeated sums have the same bits on
    /// every rank.
    public void allReduce(DeviceTensor tensor) {
        long id = id();
        long own = engine.own(tensor);
        check(Native.commAllReduce(engine.enter(), id, own, error()), "smpo_comm_all_reduce");
    }

    /// Replaces the gradients of a model's trainable parameters by their sums over all ranks.
    public void allReduceGradients(NativeModel model) {
        long id = id();
        long own = model.id();
        check(Native.commAllReduceGradients(engine.enter(), id, own, error()), "smpo_comm_all_reduce_gradients");
    }

    /// Replaces the tensor by that of rank `root`, which has the same dtype and shape.
    public void broadcast(DeviceTensor tensor, int root) {
        long id = id();
        long own = engine.own(tensor);
        check(Native.commBroadcast(engine.enter(), id, own, root, error()), "smpo_comm_broadcast");
    }

    /// Collects the tensors of all ranks on rank `root`.
    ///
    /// @return on rank `root` a new tensor `[size,...]`, which the caller closes; null on the other
    ///     ranks
    public DeviceTensor gather(DeviceTensor tensor, int root) {
        long id = id();
        long own = engine.own(tensor);
        check(Native.commGather(engine.enter(), id, own, root, engine.result(), error()), "smpo_comm_gather");
        return engine.result().get(JAVA_LONG, 0) == 0 ? null : engine.adopt(0);
    }

    /// Returns when all ranks have called it.
    public void barrier() {
        long id = id();
        check(Native.commBarrier(engine.enter(), id, error()), "smpo_comm_barrier");
    }

    @Override
    void release(long id) {
        engine.close(Native::commClose, id, "smpo_comm_close");
    }

    private MemorySegment error() {
        return engine.error().segment();
    }

    private void check(int status, String function) {
        Errors.check(status, engine.error(), function);
    }
}
