package org.smpo.ffi;

/// An instruction set that the kernels can use: the CPU has it and the operating system allows it.
public enum CpuFeature {
    AVX2(1),
    FMA(2),
    AVX512F(4),
    AVX512_BF16(8),
    AMX_BF16(16);

    private final int bit;

    CpuFeature(int bit) {
        this.bit = bit;
    }

    int bit() {
        return bit;
    }
}
