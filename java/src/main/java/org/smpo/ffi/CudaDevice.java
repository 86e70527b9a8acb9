package org.smpo.ffi;

import java.lang.foreign.Arena;

/// A CUDA device.
///
/// @param index Index of the device, as in [Device#cuda(int)]
/// @param name Name reported by the driver
/// @param computeMajor Major compute capability: 9 of 9.0
/// @param computeMinor Minor compute capability: 0 of 9.0
/// @param multiprocessors Number of streaming multiprocessors
/// @param totalMemory Total memory in bytes
/// @param freeMemory Free memory in bytes at the time of the query
public record CudaDevice(
        int index,
        String name,
        int computeMajor,
        int computeMinor,
        int multiprocessors,
        long totalMemory,
        long freeMemory) {

    /// Queries the library. May be called from any thread.
    ///
    /// @throws InvalidArgumentException when `index` is not in [0, [CudaInfo#deviceCount()])
    /// @throws LinkageError when the library is missing or does not match these classes
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
