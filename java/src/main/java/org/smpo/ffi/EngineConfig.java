package org.smpo.ffi;

import java.util.Objects;

/// The configuration that an [Engine] is opened with. It is immutable; start with [#onCpu()] or
/// [#onCuda(int)] and change what differs.
///
/// The library checks the ranges when the engine is opened.
///
/// @param device Device to compute on
/// @param threads Number of CPU threads per operation, 1 to 1024; 0: one per physical core
/// @param seed Seed of every random number that the engine generates; all 64 bits count
/// @param deterministic Whether the same inputs must give the same bits on the same machine; if false,
///     faster kernels may be chosen
/// @param logLevel Lowest level of the log records that are kept
/// @param logCapacity Number of records kept between two drains, 1 to 65536; the oldest are dropped and
///     counted
public record EngineConfig(
        Device device, int threads, long seed, boolean deterministic, LogLevel logLevel, int logCapacity) {

    /// Checks that neither the device nor the level is null.
    public EngineConfig {
        Objects.requireNonNull(device, "device");
        Objects.requireNonNull(logLevel, "logLevel");
    }

    /// Returns the configuration for the CPU: all cores, seed 0, deterministic, 1024 log records from
    /// INFO up.
    public static EngineConfig onCpu() {
        return new EngineConfig(Device.CPU, 0, 0, true, LogLevel.INFO, 1024);
    }

    /// Returns the same configuration as [#onCpu()], on a CUDA device.
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
