package org.smpo.ffi;

import java.util.Objects;

/// The device that an engine computes on.
///
/// @param type Kind of device: CPU or CUDA
/// @param index Index of the CUDA device, from 0; 0 for the CPU
public record Device(Type type, int index) {
    /// Checks that the type is not null. Opening an engine checks whether the index exists.
    public Device {
        Objects.requireNonNull(type, "type");
    }

    /// Kinds of device. Values match the header.
    public enum Type {
        CPU(0),
        CUDA(1);

        private final int code;

        Type(int code) {
            this.code = code;
        }

        int code() {
            return code;
        }
    }

    /// The CPU.
    public static final Device CPU = new Device(Type.CPU, 0);

    /// Returns a CUDA device by its index. Opening an engine on it checks whether it exists.
    public static Device cuda(int index) {
        return new Device(Type.CUDA, index);
    }

    /// Returns the device that a user names: `cpu`, `cuda` (the first GPU) or `cuda:N`.
    ///
    /// @throws IllegalArgumentException for any other name
    public static Device parse(String name) {
        if (name.equals("cpu")) {
            return CPU;
        }
        if (name.equals("cuda")) {
            return cuda(0);
        }
        if (name.matches("cuda:\\d{1,4}")) {
            return cuda(Integer.parseInt(name.substring("cuda:".length())));
        }
        throw new IllegalArgumentException("device: expected cpu, cuda or cuda:N, got " + name);
    }

    /// Returns "cpu" or, for example, "cuda:0".
    @Override
    public String toString() {
        return type == Type.CPU ? "cpu" : "cuda:" + index;
    }
}
