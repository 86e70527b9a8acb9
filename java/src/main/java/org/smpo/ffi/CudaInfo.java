package org.smpo.ffi;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.stream.IntStream;

/// The availability of CUDA and, if it cannot be used, the reason.
///
/// @param compiled Whether the library contains CUDA code
/// @param deviceCount Number of usable devices
/// @param driverVersion Version of the driver: 13000 for 13.0; 0 when there is no driver
/// @param runtimeVersion Version of the CUDA runtime, in the same encoding
/// @param problem Reason why `deviceCount` is 0, in words; empty when it is not 0
public record CudaInfo(boolean compiled, int deviceCount, int driverVersion, int runtimeVersion, String problem) {

    /// Queries the library. May be called from any thread.
    ///
    /// @throws LinkageError when the library is missing or does not match these classes
    public static CudaInfo read() {
        try (Arena arena = Arena.ofConfined()) {
            Struct error = Struct.allocate(Native.ERROR, arena);
            Struct info = Struct.allocate(Native.CUDA_INFO, arena);
            Errors.check(Native.cudaDescribe(info.segment(), error.segment()), error, "smpo_cuda_describe");
            return new CudaInfo(
                    info.getInt("compiled") != 0,
                    info.getInt("device_count"),
                    info.getInt("driver_version"),
                    info.getInt("runtime_version"),
                    info.getString("problem"));
        }
    }

    /// Returns every usable device, ordered by index. May be called from any thread.
    public List<CudaDevice> devices() {
        return IntStream.range(0, deviceCount).mapToObj(CudaDevice::read).toList();
    }
}
