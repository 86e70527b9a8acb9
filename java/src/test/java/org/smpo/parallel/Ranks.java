package org.smpo.parallel;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/// Runs the ranks of a world in threads of this process.
public final class Ranks {
    private static final Duration TIMEOUT = Duration.ofSeconds(60);

    private Ranks() {}

    /// The work of one rank.
    @FunctionalInterface
    public interface Work<T> {
        T run(Peers peers) throws Exception;
    }

    /// The result of a rank, or its failure.
    public record Outcome<T>(T value, Throwable failure) {
        /// The message of the failure.
        public String message() {
            return failure.getMessage();
        }
    }

    public static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    public static World world(int rank, int size, int port) {
        return World.of(java.util.Optional.of(rank + "/" + size + "@127.0.0.1:" + port), java.util.Map.of());
    }

    /// Runs the work on all ranks and returns their outcomes.
    public static <T> List<Outcome<T>> outcomes(int size, Work<T> work) throws IOException, InterruptedException {
        int port = freePort();
        List<Callable<T>> calls = new ArrayList<>();
        for (int rank = 0; rank < size; rank++) {
            World world = world(rank, size, port);
            calls.add(() -> {
                try (Peers peers = Peers.open(world, "test", TIMEOUT, TIMEOUT)) {
                    return work.run(peers);
                }
            });
        }
        return together(calls);
    }

    /// Runs calls in threads of their own.
    public static <T> List<Outcome<T>> together(List<Callable<T>> calls) throws InterruptedException {
        List<FutureTask<T>> tasks = new ArrayList<>();
        for (int i = 0; i < calls.size(); i++) {
            FutureTask<T> task = new FutureTask<>(calls.get(i));
            tasks.add(task);
            Thread.ofPlatform().name("rank-" + i).start(task);
        }
        List<Outcome<T>> outcomes = new ArrayList<>();
        for (FutureTask<T> task : tasks) {
            try {
                outcomes.add(new Outcome<>(task.get(), null));
            } catch (ExecutionException e) {
                outcomes.add(new Outcome<>(null, e.getCause()));
            }
        }
        return outcomes;
    }

    /// Runs the work on all ranks, none of which may fail.
    public static <T> List<T> run(int size, Work<T> work) throws IOException, InterruptedException {
        List<T> values = new ArrayList<>();
        for (Outcome<T> outcome : outcomes(size, work)) {
            if (outcome.failure() != null) {
                throw new AssertionError(outcome.failure());
            }
            values.add(outcome.value());
        }
        return values;
    }
}
