package org.smpo.ffi;

import java.util.Objects;

/// Where an engine computes.
///
/// @param type CPU or CUDA
/// @param index which CUDA device, from 0; 0 for the CPU
public record Device(Type type, int index) {
    /// The type may not be null; whether the index exists is found when an engine is opened.
    public Device {
        Objects.requireNonNull(type, "type");
    }

    /// Kinds of device. Values are the header's.
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

    /// A CUDA device by its index. Whether it exists is found when an engine is opened on it.
    public static Device cuda(int index) {
        return new Device(Type.CUDA, index);
    }

    /// The device of a name that people give: `cpu`, `cuda` (the first GPU) or `cuda:N`.
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

    /// "cpu" or "cuda:0".
    @Override
    public String toString() {
        return type == Type.CPU ? "cpu" : "cuda:" + index;
    }
}
