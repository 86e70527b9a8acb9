package org.smpo.ffi;

import java.lang.foreign.Arena;

/// A CUDA device.
///
/// @param index its number, as in [Device#cuda(int)]
/// @param name the driver's name for it
/// @param computeMajor major compute capability: 9 of 9.0
/// @param computeMinor minor compute capability: 0 of 9.0
/// @param multiprocessors streaming multiprocessors
/// @param totalMemory bytes
/// @param freeMemory bytes, at the time of asking
public record CudaDevice(
        int index,
        String name,
        int computeMajor,
        int computeMinor,
        int multiprocessors,
        long totalMemory,
        long freeMemory) {

    /// Asks the library, from any thread.
    ///
    /// @throws InvalidArgumentException when `index` is not in [0, [CudaInfo#deviceCount()])
    /// @throws LinkageError when the library is missing or does not fit
    public static CudaDevice read(int index) {
        try (Arena arena = Arena.ofConfined()) {
            Struct error = Struct.allocate(Native.ERROR, arena);
            Struct info = Struct.allocate(Native.CUDA_DEVICE_INFO, arena);
            Errors.check(
                    Native.cudaDeviceDescribe(index, info.segment(), error.segment()),
                    error,
                    "smpo_cuda_device_describe");
            return new CudaDevice(
                    info.getInt("index"),
                    info.getString("name"),
                    info.getInt("compute_major"),
                    info.getInt("compute_minor"),
                    info.getInt("multiprocessors"),
                    info.getLong("total_memory"),
                    info.getLong("free_memory"));
        }
    }
}
