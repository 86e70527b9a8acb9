package org.smpo.train;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.smpo.ffi.Engine;
import org.smpo.ffi.LogLevel;
import org.smpo.ffi.LogRecord;

/// Warnings and errors from the engine's log, such as those of LibTorch. A message that repeats is reported once.
final class EngineLog {
    private final Engine engine;
    private final Set<String> reported = new HashSet<>();

    EngineLog(Engine engine) {
        this.engine = engine;
    }

    /// Takes the new warnings and errors, oldest first.
    List<LogRecord> drain() {
        return engine.drainLog().stream()
                .filter(record -> record.level().compareTo(LogLevel.WARNING) >= 0)
                .filter(record -> reported.add(record.message()))
                .toList();
    }
}
