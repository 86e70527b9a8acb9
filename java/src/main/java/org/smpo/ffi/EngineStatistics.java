package org.smpo.ffi;

/// Counters of one engine. Counters named "host" cover the whole process, because all CPU tensors share
/// one pool.
///
/// @param openTensors Number of tensors of this engine that are not closed
/// @param calls Number of calls on this session, including the one that read the counters
/// @param failedCalls Number of those calls that returned an error
/// @param logRecordsDropped Number of records lost because the log was not drained in time
/// @param hostBytesInUse Number of bytes in CPU tensors
/// @param hostBytesPeak Highest `hostBytesInUse` so far
/// @param hostBytesPooled Number of bytes that the pool keeps for reuse; [Engine#trim()] releases them
/// @param deviceBytesInUse Number of bytes in use on this engine's device; 0 on the CPU
/// @param deviceBytesPeak Highest `deviceBytesInUse` so far
/// @param deviceBytesReserved Number of bytes that the device allocator holds, used or not
/// @param deviceSynchronizations Number of times that the engine made the host wait for the device
public record EngineStatistics(
        int openTensors,
        long calls,
        long failedCalls,
        long logRecordsDropped,
        long hostBytesInUse,
        long hostBytesPeak,
        long hostBytesPooled,
        long deviceBytesInUse,
        long deviceBytesPeak,
        long deviceBytesReserved,
        long deviceSynchronizations) {

    static EngineStatistics read(Struct statistics) {
        return new EngineStatistics(
                statistics.getInt("open_tensors"),
                statistics.getLong("calls"),
                statistics.getLong("failed_calls"),
                statistics.getLong("log_records_dropped"),
                statistics.getLong("host_bytes_in_use"),
                statistics.getLong("host_bytes_peak"),
                statistics.getLong("host_bytes_pooled"),
                statistics.getLong("device_bytes_in_use"),
                statistics.getLong("device_bytes_peak"),
                statistics.getLong("device_bytes_reserved"),
                statistics.getLong("device_synchronizations"));
    }
}
