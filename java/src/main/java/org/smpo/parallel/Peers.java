package org.smpo.parallel;

import java.io.DataInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.EngineException;
import org.smpo.ffi.LibraryInfo;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.NativeOptimizer;
import org.smpo.ffi.OptimizerOptions;
import org.smpo.ffi.PeerLostException;
import org.smpo.ffi.ProcessGroup;
import org.smpo.io.Closer;

/// The processes of a [World], seen from one of them.
///
/// All processes make the same calls in the same order. Each call that waits for the others throws a
/// [PeerException] when one of them has failed or ended, and a [PeerStoppedException] when one of them
/// was asked to stop, so that all leave at the same point. Belongs to the thread that opened it.
///
/// Messages go through a group of CPU tensors, also where gradients are summed on GPUs.
public final class Peers implements AutoCloseable {
    private static final byte WORKING = 0;
    private static final byte STOPPED = 1;
    private static final byte FAILED = 2;
    private static final String ADVICE =
            "; see the messages of that process, then rerun all processes (with --resume, where the command has it)";

    private final World world;
    private final Duration joinTimeout;
    private final Duration timeout;
    private final Closer parts = new Closer();
    private Engine engine;
    private ProcessGroup messages;
    private ProcessGroup gradients;
    private int joined;
    private boolean broken;

    private Peers(World world, Duration joinTimeout, Duration timeout) {
        this.world = world;
        this.joinTimeout = joinTimeout;
        this.timeout = timeout;
    }

    /// One process by itself, which waits for nobody.
    public static Peers alone() {
        return new Peers(World.ALONE, Duration.ZERO, Duration.ZERO);
    }

    /// Waits for the other processes of a world.
    ///
    /// @param task what the processes do, the same on all of them
    /// @param joinTimeout longest wait for the other processes to arrive
    /// @param timeout longest wait for another process later on
    /// @throws PeerException when one does not arrive, has the same rank, or runs another build or task
    public static Peers open(World world, String task, Duration joinTimeout, Duration timeout) {
        Peers peers = new Peers(world, joinTimeout, timeout);
        if (world.size() > 1) {
            try {
                peers.engine = peers.parts.add(Engine.open(EngineConfig.onCpu().withThreads(1)));
                LibraryInfo library = LibraryInfo.read();
                String build = "smpo " + task + " of version " + library.version() + ", commit " + library.commit();
                peers.messages = peers.parts.add(
                        ProcessGroup.open(peers.engine, peers.config("messages", build, world.storeExists())));
            } catch (EngineException e) {
                PeerException failure = new PeerException(
                        "rank " + world.rank() + " of " + world.size()
                                + " cannot join the others at " + world.host() + ":" + world.port() + ": "
                                + e.getMessage()
                                + "; check that all processes were started, with different ranks and the same build,"
                                + " and that the port is free",
                        e);
                peers.parts.closeAfter(failure);
                throw failure;
            }
        }
        return peers;
    }

    private ProcessGroup.Config config(String name, String fingerprint, boolean storeExists) {
        return new ProcessGroup.Config(
                world.rank(),
                world.size(),
                world.host(),
                world.port(),
                joinTimeout,
                timeout,
                fingerprint,
                "smpo/" + world.attempt() + "/" + name,
                storeExists);
    }

    /// The place of this process.
    public World world() {
        return world;
    }

    /// Prepares [#sumGradients] for the models of an engine, which takes the place of an earlier one.
    public void join(Engine engine) {
        if (world.size() > 1) {
            // A process that has failed does not come.
            check();
            try {
                // The keys of an earlier group stay in the store.
                String name = "gradients" + joined++;
                gradients = parts.add(ProcessGroup.open(engine, config(name, "", true)));
            } catch (PeerLostException e) {
                throw lost(e);
            }
        }
    }

    /// Opens an optimizer of a model.
    ///
    /// @param model a model of the engine given to [#join]
    /// @param shared whether the processes share its state; it must then be used within [#collectively]
    public NativeOptimizer openOptimizer(NativeModel model, OptimizerOptions options, boolean shared) {
        return NativeOptimizer.open(model, options, shared ? gradients : null);
    }

    /// Runs a call that all processes make on the engine given to [#join].
    public <T> T collectively(Supplier<T> call) {
        try {
            return call.get();
        } catch (PeerLostException e) {
            throw lost(e);
        }
    }

    /// Replaces the gradients of a model by their sums over all processes. The sums have the same bits
    /// on all of them.
    ///
    /// @param model a model of the engine given to [#join]
    public void sumGradients(NativeModel model) {
        if (world.size() > 1) {
            collectively(() -> {
                gradients.allReduceGradients(model);
                return null;
            });
        }
    }

    /// Returns the data of all processes in the order of their ranks, on each of them.
    public List<byte[]> exchange(byte[] own) {
        return world.size() == 1 ? List.of(own) : exchange(WORKING, own);
    }

    /// Returns the data of all items of a list that is dealt out one by one, on each process, in the
    /// order of the list.
    ///
    /// @param own data of the items that this process [has][World#has], in their order
    public List<byte[]> deal(List<byte[]> own) {
        if (world.size() == 1) {
            return own;
        }
        List<List<byte[]>> hands =
                exchange(Frames.list(own)).stream().map(Frames::list).toList();
        List<byte[]> all = new ArrayList<>();
        for (int round = 0; round < hands.getFirst().size(); round++) {
            for (List<byte[]> hand : hands) {
                if (round < hand.size()) {
                    all.add(hand.get(round));
                }
            }
        }
        return all;
    }

    /// Returns the data of rank 0, on each process.
    ///
    /// @param first called on rank 0 only
    public byte[] tell(Supplier<byte[]> first) {
        byte[] own = world.isFirst() ? first.get() : new byte[0];
        return exchange(own).getFirst();
    }

    /// Returns what rank 0 knows, on each process.
    public boolean tell(boolean own) {
        return Frames.read(tell(() -> Frames.write(out -> out.writeBoolean(own))), DataInputStream::readBoolean);
    }

    /// Returns the number that rank 0 gives, on each process.
    public long tell(long own) {
        return Frames.read(tell(() -> Frames.write(out -> out.writeLong(own))), DataInputStream::readLong);
    }

    /// Does the work of one item.
    @FunctionalInterface
    public interface Work {
        byte[] of(int item) throws IOException;
    }

    /// Receives the results of items.
    @FunctionalInterface
    public interface Sink {
        void take(int item, byte[] result) throws IOException;
    }

    /// Shares the items of a task: the processes take one item each, then the next ones. Their results
    /// come to rank 0, in the order of the items.
    ///
    /// @param items number of items, the same on all processes
    /// @param work called for the items of this process, in order
    /// @param sink called for all items, in order, on rank 0 only
    public void share(int items, Work work, Sink sink) throws IOException {
        for (int round = 0; round < items; round += world.size()) {
            int own = round + world.rank();
            List<byte[]> results = collect(own < items ? work.of(own) : new byte[0]);
            for (int item = 0; item < results.size() && round + item < items; item++) {
                sink.take(round + item, results.get(item));
            }
        }
    }

    /// What the processes do together.
    @FunctionalInterface
    public interface Task<T> {
        T run() throws IOException;
    }

    /// Runs a task of all processes and returns its result once it has ended on each. When it fails on
    /// one of them, the others fail with that message.
    public <T> T together(Task<T> task) throws IOException {
        try {
            T result = task.run();
            check();
            return result;
        } catch (IOException | RuntimeException e) {
            fail(e);
            throw e;
        }
    }

    /// Returns the sums over all processes, added in the order of their ranks.
    public double[] sum(double... own) {
        double[] sums = new double[own.length];
        for (byte[] bytes : exchange(Frames.write(out -> Frames.doubles(out, own)))) {
            double[] one = Frames.read(bytes, Frames::doubles);
            for (int i = 0; i < sums.length; i++) {
                sums[i] += one[i];
            }
        }
        return sums;
    }

    /// Returns when all processes have called it.
    public void check() {
        exchange(new byte[0]);
    }

    /// Tells the others, in their next call, that this process was asked to stop.
    public void stop() {
        if (world.size() > 1) {
            try {
                exchange(STOPPED, new byte[0]);
            } catch (PeerStoppedException e) {
                // The answer to this call.
                return;
            }
        }
    }

    /// Tells the others, in their next call, that this process has failed. Does nothing where they know.
    ///
    /// @param failure the reason; a [PeerException] or a [PeerStoppedException] comes from the others
    public void fail(Exception failure) {
        if (world.size() == 1
                || broken
                || failure instanceof PeerException
                || failure instanceof PeerStoppedException) {
            return;
        }
        try {
            String message = failure.getMessage() == null ? failure.toString() : failure.getMessage();
            exchange(FAILED, message.getBytes(StandardCharsets.UTF_8));
        } catch (RuntimeException e) {
            failure.addSuppressed(e);
        }
    }

    /// Throws if a value differs between the processes. Of a text with several lines, the first line
    /// that differs is named.
    ///
    /// @param values texts by name
    public void requireSame(Map<String, String> values) {
        List<Map<String, String>> all = new ArrayList<>();
        for (byte[] bytes : exchange(Frames.ofTexts(values))) {
            all.add(Frames.texts(bytes));
        }
        Map<String, String> first = all.getFirst();
        for (int rank = 1; rank < all.size(); rank++) {
            for (String name : first.keySet()) {
                String found = all.get(rank).get(name);
                if (!first.get(name).equals(found)) {
                    throw new PeerException(difference(rank, name, first.get(name), found));
                }
            }
        }
    }

    private static String difference(int rank, String name, String first, String found) {
        List<String> wanted = first.lines().toList();
        List<String> given = found == null ? List.of() : found.lines().toList();
        int line = 0;
        while (line < Math.min(wanted.size(), given.size()) && wanted.get(line).equals(given.get(line))) {
            line++;
        }
        return "rank " + rank + ": " + name + ": expected "
                + (line < wanted.size() ? wanted.get(line).strip() : "no more") + ", as on rank 0, found "
                + (line < given.size() ? given.get(line).strip() : "nothing")
                + "; give all processes the same recipe, model, data and options";
    }

    private List<byte[]> exchange(byte status, byte[] own) {
        if (broken) {
            throw new PeerException("the group of processes is broken");
        }
        List<byte[]> all;
        try {
            all = gather(
                    ByteBuffer.allocate(1 + own.length).put(status).put(own).array());
        } catch (PeerLostException e) {
            throw lost(e);
        }
        for (int rank = 0; rank < all.size(); rank++) {
            if (all.get(rank)[0] == FAILED) {
                broken = true;
                byte[] said = all.get(rank);
                throw new PeerException("rank " + rank + " failed: "
                        + new String(said, 1, said.length - 1, StandardCharsets.UTF_8) + ADVICE);
            }
        }
        for (int rank = 0; rank < all.size(); rank++) {
            if (all.get(rank)[0] == STOPPED) {
                throw new PeerStoppedException(rank);
            }
        }
        return all.stream()
                .map(bytes -> Arrays.copyOfRange(bytes, 1, bytes.length))
                .toList();
    }

    private PeerException lost(PeerLostException failure) {
        broken = true;
        return new PeerException(failure.getMessage() + ADVICE, failure);
    }

    /// The data of all processes in the order of their ranks, on rank 0; empty on the others.
    private List<byte[]> collect(byte[] own) {
        if (world.size() == 1) {
            return List.of(own);
        }
        long[] lengths = exchange(Frames.write(out -> out.writeInt(own.length))).stream()
                .mapToLong(bytes -> Frames.read(bytes, DataInputStream::readInt))
                .toArray();
        try {
            return parts(own, lengths, mine -> messages.gather(mine, 0));
        } catch (PeerLostException e) {
            throw lost(e);
        }
    }

    /// Gathers on rank 0 and sends everything back, in two rounds: lengths, then contents of the largest
    /// length.
    private List<byte[]> gather(byte[] own) {
        long[] lengths = new long[world.size()];
        try (DeviceTensor length = engine.fromHost(new long[] {own.length}, 1);
                DeviceTensor all = spread(length)) {
            all.copyToHost(lengths);
        }
        return parts(own, lengths, this::spread);
    }

    /// @param transport the tensors of all ranks, given that of this one; null where there are none
    private List<byte[]> parts(byte[] own, long[] lengths, UnaryOperator<DeviceTensor> transport) {
        int longest = 0;
        for (long length : lengths) {
            longest = Math.max(longest, Math.toIntExact(length));
        }
        // The engine has no tensors of bytes.
        int words = (longest + Integer.BYTES - 1) / Integer.BYTES;
        int[] content = new int[words];
        ByteBuffer.wrap(Arrays.copyOf(own, words * Integer.BYTES)).asIntBuffer().get(content);
        int[] contents = new int[Math.multiplyExact(words, world.size())];
        try (DeviceTensor mine = engine.fromHost(content, words);
                DeviceTensor all = transport.apply(mine)) {
            if (all == null) {
                return List.of();
            }
            all.copyToHost(contents);
        }
        List<byte[]> parts = new ArrayList<>();
        for (int rank = 0; rank < world.size(); rank++) {
            ByteBuffer bytes = ByteBuffer.allocate(words * Integer.BYTES);
            bytes.asIntBuffer().put(contents, rank * words, words);
            parts.add(Arrays.copyOf(bytes.array(), (int) lengths[rank]));
        }
        return parts;
    }

    /// The tensors of all ranks `[size,...]`, on each of them.
    private DeviceTensor spread(DeviceTensor own) {
        DeviceTensor all = messages.gather(own, 0);
        if (all == null) {
            long[] shape = own.shape();
            long[] whole = new long[shape.length + 1];
            whole[0] = world.size();
            System.arraycopy(shape, 0, whole, 1, shape.length);
            all = engine.zeros(own.dtype(), whole);
        }
        messages.broadcast(all, 0);
        return all;
    }

    /// Leaves the group once all processes are here, unless one is lost.
    @Override
    public void close() throws IOException {
        if (world.size() > 1 && !broken) {
            try {
                messages.barrier();
            } catch (PeerLostException e) {
                // All data has been exchanged: what the other does now is not waited for.
                broken = true;
            }
        }
        parts.close();
    }
}
