package org.smpo.ffi;

import java.lang.foreign.MemorySegment;
import java.time.Instant;

/// One record of the engine's log.
///
/// @param level Severity of the record
/// @param time Time at which the record was written, at the system clock's resolution of up to a
///     nanosecond
/// @param message Text of the record, at most 239 bytes of UTF-8; longer texts are truncated
public record LogRecord(LogLevel level, Instant time, String message) {

    static LogRecord read(MemorySegment segment) {
        Struct struct = new Struct(Native.LOG_RECORD, segment);
        return new LogRecord(
                LogLevel.of(struct.getInt("level")),
                Instant.ofEpochSecond(0, struct.getLong("unix_nanos")),
                struct.getString("message"));
    }
}
