package org.smpo.ffi;

import java.lang.foreign.MemorySegment;
import java.time.Instant;

/// One line of the engine's log.
///
/// @param level how much it matters
/// @param time when it was written, to the nanosecond that the system's clock gives
/// @param message the text, at most 239 bytes of UTF-8; longer ones were cut
public record LogRecord(LogLevel level, Instant time, String message) {

    static LogRecord read(MemorySegment segment) {
        Struct struct = new Struct(Native.LOG_RECORD, segment);
        return new LogRecord(
                LogLevel.of(struct.getInt("level")),
                Instant.ofEpochSecond(0, struct.getLong("unix_nanos")),
                struct.getString("message"));
    }
}
