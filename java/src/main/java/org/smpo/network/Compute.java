package org.smpo.network;

import java.util.Optional;
import org.smpo.ffi.CudaInfo;
import org.smpo.io.Precision;

/// Where networks compute, and in which precision.
///
/// @param device `cpu`, `cuda` or `cuda:N`
/// @param precision precision of weights and activations
public record Compute(String device, Precision precision) {
    /// The name that stands for the best device of the machine.
    public static final String AUTO = "auto";

    private static final String CPU = "cpu";

    /// Decides what is left open: the first GPU that can be used, else the CPU; bf16 on a GPU and fp32 on the CPU,
    /// which computes faster in fp32.
    ///
    /// @param device `auto`, `cpu`, `cuda` or `cuda:N`
    public static Compute choose(String device, Optional<Precision> precision) {
        String chosen = device;
        if (device.equals(AUTO)) {
            chosen = CudaInfo.read().deviceCount() > 0 ? "cuda:0" : CPU;
        }
        return new Compute(chosen, precision.orElse(chosen.equals(CPU) ? Precision.FP32 : Precision.BF16));
    }

    /// A line for people, such as "computing on cpu in fp32".
    public String describe() {
        return "computing on " + device + " in " + precision.id();
    }
}
