package org.smpo.train;

import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import org.smpo.ffi.LogLevel;
import org.smpo.ffi.LogRecord;

/// Warnings and errors from the engine's log, such as those of LibTorch, on their way to the user and to the
/// run's log. A message that repeats is reported once.
final class EngineLog {
    private final Supplier<List<LogRecord>> records;
    private final Trainer.Listener listener;
    private final Events events;
    private final Set<String> reported = new HashSet<>();

    /// Receives events of the run's log.
    @FunctionalInterface
    interface Events {
        void log(Map<String, Object> event) throws IOException;
    }

    /// @param records takes the records that are new, oldest first
    EngineLog(Supplier<List<LogRecord>> records, Trainer.Listener listener, Events events) {
        this.records = records;
        this.listener = listener;
        this.events = events;
    }

    /// Passes the new warnings and errors on.
    ///
    /// @param done number of steps taken
    void pass(long done) throws IOException {
        for (LogRecord record : records.get()) {
            if (record.level().compareTo(LogLevel.WARNING) >= 0 && reported.add(record.message())) {
                listener.warn(record.message());
                events.log(StepLog.engine(done, record));
            }
        }
    }
}
