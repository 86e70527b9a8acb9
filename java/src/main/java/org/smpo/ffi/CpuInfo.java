package org.smpo.ffi;

import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;

/// The CPU and the host memory that this process may use.
///
/// @param model the CPU's name as the system gives it
/// @param features instruction sets that kernels can use, unmodifiable
/// @param logicalCores hardware threads usable by this process
/// @param physicalCores cores behind them, at least 1
/// @param totalMemory bytes; a container's limit where there is one
/// @param availableMemory bytes that could be allocated now
public record CpuInfo(
        String model,
        Set<CpuFeature> features,
        int logicalCores,
        int physicalCores,
        long totalMemory,
        long availableMemory) {

    /// Copies `features`.
    public CpuInfo {
        EnumSet<CpuFeature> copy = EnumSet.noneOf(CpuFeature.class);
        copy.addAll(features);
        features = Collections.unmodifiableSet(copy);
    }

    /// Whether bfloat16 multiplies in hardware. Without it the engine computes in float32: emulated bfloat16 is
    /// slower.
    public boolean fastBf16() {
        return features.contains(CpuFeature.AMX_BF16) || features.contains(CpuFeature.AVX512_BF16);
    }

    /// Asks the library, from any thread.
    ///
    /// @throws LinkageError when the library is missing or does not fit
    public static CpuInfo read() {
        try (Arena arena = Arena.ofConfined()) {
            Struct error = Struct.allocate(Native.ERROR, arena);
            Struct info = Struct.allocate(Native.CPU_INFO, arena);
            Errors.check(Native.cpuDescribe(info.segment(), error.segment()), error, "smpo_cpu_describe");
            EnumSet<CpuFeature> features = EnumSet.noneOf(CpuFeature.class);
            for (CpuFeature feature : CpuFeature.values()) {
                if ((info.getInt("features") & feature.bit()) != 0) {
                    features.add(feature);
                }
            }
            return new CpuInfo(
                    info.getString("model"),
                    features,
                    info.getInt("logical_cores"),
                    info.getInt("physical_cores"),
                    info.getLong("total_memory"),
                    info.getLong("available_memory"));
        }
    }
}
