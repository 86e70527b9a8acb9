package org.smpo.ffi;

/// The severity of a log record, lowest first. Values match the header.
public enum LogLevel {
    DEBUG(0),
    INFO(1),
    WARNING(2),
    ERROR(3);

    private final int code;

    LogLevel(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }

    static LogLevel of(int code) {
        for (LogLevel level : values()) {
            if (level.code == code) {
                return level;
            }
        }
        throw new AssertionError("unknown log level " + code + " from the native library");
    }
}
