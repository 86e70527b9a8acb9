package org.smpo.ffi;

/// Counters of one engine. Those named "host" are of the whole process, since CPU tensors share one pool.
///
/// @param openTensors tensors of this engine that are not closed
/// @param calls calls on this session, the one that asked included
/// @param failedCalls those of them that returned an error
/// @param logRecordsDropped records lost because the log was not drained in time
/// @param hostBytesInUse bytes in CPU tensors
/// @param hostBytesPeak the highest `hostBytesInUse` so far
/// @param hostBytesPooled bytes that the pool keeps for reuse; [Engine#trim()] gives them back
/// @param deviceBytesInUse bytes on this engine's device; 0 on the CPU
/// @param deviceBytesPeak the highest `deviceBytesInUse` so far
/// @param deviceBytesReserved bytes that the device allocator holds, used or not
/// @param deviceSynchronizations times that the engine made the host wait for the device
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
