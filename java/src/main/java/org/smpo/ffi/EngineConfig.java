package org.smpo.ffi;

import java.util.Objects;

/// How an [Engine] is opened. Immutable; begin with [#onCpu()] or [#onCuda(int)] and change what differs.
///
/// Ranges are checked by the library when the engine is opened.
///
/// @param device where it computes
/// @param threads CPU threads per operation, 1 to 1024; 0 means one per physical core
/// @param seed of every random number that the engine draws; all 64 bits count
/// @param deterministic whether the same inputs must give the same bits on the same machine; otherwise faster
///     kernels may be chosen
/// @param logLevel records below it are not kept
/// @param logCapacity records kept between two drains, 1 to 65536; the oldest are dropped and counted
public record EngineConfig(
        Device device, int threads, long seed, boolean deterministic, LogLevel logLevel, int logCapacity) {

    /// Neither device nor level may be null.
    public EngineConfig {
        Objects.requireNonNull(device, "device");
        Objects.requireNonNull(logLevel, "logLevel");
    }

    /// The CPU, all cores, seed 0, deterministic, 1024 log records from INFO up.
    public static EngineConfig onCpu() {
        return new EngineConfig(Device.CPU, 0, 0, true, LogLevel.INFO, 1024);
    }

    /// Like [#onCpu()], on a CUDA device.
    public static EngineConfig onCuda(int index) {
        return onCpu().withDevice(Device.cuda(index));
    }

    public EngineConfig withDevice(Device value) {
        return new EngineConfig(value, threads, seed, deterministic, logLevel, logCapacity);
    }

    public EngineConfig withThreads(int value) {
        return new EngineConfig(device, value, seed, deterministic, logLevel, logCapacity);
    }

    public EngineConfig withSeed(long value) {
        return new EngineConfig(device, threads, value, deterministic, logLevel, logCapacity);
    }

    public EngineConfig withDeterministic(boolean value) {
        return new EngineConfig(device, threads, seed, value, logLevel, logCapacity);
    }

    public EngineConfig withLog(LogLevel level, int capacity) {
        return new EngineConfig(device, threads, seed, deterministic, level, capacity);
    }
}
