package org.smpo.ffi;

import java.io.Serial;

/// Thrown when the device failed in a way that makes the engine unusable; [#detail()] holds the
/// backend's code. Close the engine. A fault that persists in the process, as most CUDA faults do, needs
/// a new process.
public final class DeviceFaultException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    DeviceFaultException(String message, long detail) {
        super(Status.DEVICE_FAULT, message, detail);
    }
}
