package org.smpo.ffi;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.stream.IntStream;

/// Whether CUDA can be used, and if not, why.
///
/// @param compiled whether the library has CUDA code
/// @param deviceCount devices that can be used
/// @param driverVersion 13000 for 13.0; 0 when there is no driver
/// @param runtimeVersion likewise, of the CUDA runtime
/// @param problem why `deviceCount` is 0, in words; empty when it is not
public record CudaInfo(boolean compiled, int deviceCount, int driverVersion, int runtimeVersion, String problem) {

    /// Asks the library, from any thread.
    ///
    /// @throws LinkageError when the library is missing or does not fit
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

    /// Every device that can be used, by index. From any thread.
    public List<CudaDevice> devices() {
        return IntStream.range(0, deviceCount).mapToObj(CudaDevice::read).toList();
    }
}
