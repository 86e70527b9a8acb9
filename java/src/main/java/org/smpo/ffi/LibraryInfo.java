package org.smpo.ffi;

import java.lang.foreign.Arena;

/// The build information of the loaded native library.
///
/// @param abiVersion `SMPO_ABI_VERSION` that the library was built with
/// @param version Release version, such as "0.1.0"
/// @param commit Git commit of the sources, with the suffix "-dirty" if they had changes; "unknown"
///     without git
/// @param buildType Build type of CMake, such as "RelWithDebInfo"
/// @param compiler Name and version of the compiler
/// @param libtorch Version of the LibTorch that was loaded with the library
/// @param cudaCompiled CUDA version that the library was compiled with; empty without CUDA
/// @param cudaTargets GPU architectures that the library has code for, separated by spaces; empty
///     without CUDA
public record LibraryInfo(
        int abiVersion,
        String version,
        String commit,
        String buildType,
        String compiler,
        String libtorch,
        String cudaCompiled,
        String cudaTargets) {

    /// Queries the library. May be called from any thread.
    ///
    /// @throws LinkageError when the library is missing or does not match these classes
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
