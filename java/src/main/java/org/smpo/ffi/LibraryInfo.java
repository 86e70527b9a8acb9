package org.smpo.ffi;

import java.lang.foreign.Arena;

/// What the loaded native library was built from.
///
/// @param abiVersion `SMPO_ABI_VERSION` that it was built with
/// @param version release, such as "0.1.0"
/// @param commit git commit of its sources, "-dirty" behind it when they had changes; "unknown" without git
/// @param buildType CMake's, such as "RelWithDebInfo"
/// @param compiler name and version
/// @param libtorch version of the LibTorch that was loaded with it
/// @param cudaCompiled CUDA version that it was compiled with; empty without CUDA
/// @param cudaTargets architectures it has code for, separated by spaces; empty without CUDA
public record LibraryInfo(
        int abiVersion,
        String version,
        String commit,
        String buildType,
        String compiler,
        String libtorch,
        String cudaCompiled,
        String cudaTargets) {

    /// Asks the library, from any thread.
    ///
    /// @throws LinkageError when the library is missing or does not fit
    public static LibraryInfo read() {
        try (Arena arena = Arena.ofConfined()) {
            Struct error = Struct.allocate(Native.ERROR, arena);
            Struct info = Struct.allocate(Native.LIBRARY_INFO, arena);
            Errors.check(Native.libraryDescribe(info.segment(), error.segment()), error, "smpo_library_describe");
            return new LibraryInfo(
                    info.getInt("abi_version"),
                    info.getString("version"),
                    info.getString("commit"),
                    info.getString("build_type"),
                    info.getString("compiler"),
                    info.getString("libtorch"),
                    info.getString("cuda_compiled"),
                    info.getString("cuda_targets"));
        }
    }
}
