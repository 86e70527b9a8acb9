package org.smpo.doctor;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.smpo.ffi.Abi;
import org.smpo.ffi.CpuFeature;
import org.smpo.ffi.CpuInfo;
import org.smpo.ffi.CudaInfo;
import org.smpo.ffi.Device;
import org.smpo.ffi.Engine;
import org.smpo.ffi.LibraryInfo;

/// Everything that determines whether and how well the engine runs on this machine. Parts that only the
/// library knows are null when it cannot be loaded.
///
/// @param build what the Java classes and the library were built from
/// @param java the virtual machine
/// @param abi the library that was found, and whether it fits
/// @param library Build of the native library; null if it cannot be loaded
/// @param cpu the processor and what it will compute with, or null
/// @param memory host memory, or null
/// @param cuda devices, or the reason that there are none; or null
/// @param smokeTests one per device, the CPU first; empty without a library
/// @param findings what is wrong and what to do, fatal ones first
public record Checkup(
        BuildInfo build,
        Java java,
        Fit abi,
        Library library,
        Cpu cpu,
        Memory memory,
        Cuda cuda,
        List<SmokeTest> smokeTests,
        List<Finding> findings) {

    /// Below this a Stable Diffusion 1.5 UNet in float32 (3.4 GB) does not fit.
    private static final long LITTLE_MEMORY = 4L << 30;

    /// The virtual machine.
    ///
    /// @param nativeAccess whether the command line allowed it; otherwise Java warns, and will refuse in
    ///     future
    /// @param heapLimit bytes that the Java heap may grow to
    public record Java(String version, String vendor, String home, boolean nativeAccess, long heapLimit) {}

    /// Whether the library fits the Java classes.
    ///
    /// @param file the library that was loaded or tried; empty when none was found
    /// @param matches whether it was built from the same header
    /// @param headerSha256 SHA-256 of the header that the Java classes were built with
    /// @param libraryHeaderSha256 SHA-256 of the header that the library was built with; empty when the library
    ///     cannot be called
    public record Fit(String file, boolean matches, String headerSha256, String libraryHeaderSha256) {}

    /// See [LibraryInfo].
    public record Library(
            String version,
            String commit,
            String buildType,
            String compiler,
            String libtorch,
            String cudaCompiled,
            String cudaTargets) {}

    /// The processor.
    ///
    /// @param features Vector extensions that the kernels can use and the CPU has, in lower case
    /// @param kernels Widest instruction set that the kernels will use
    /// @param precision Fastest precision on this CPU, and why
    public record Cpu(
            String model,
            int physicalCores,
            int logicalCores,
            List<String> features,
            String kernels,
            String precision) {}

    /// Host memory.
    ///
    /// @param total Bytes; the limit of the container if there is one
    /// @param available Bytes
    public record Memory(long total, long available) {}

    /// CUDA and its devices.
    ///
    /// @param problem Reason why there is no device; empty if there is one
    public record Cuda(boolean compiled, int driverVersion, int runtimeVersion, String problem, List<Gpu> devices) {}

    /// One CUDA device.
    ///
    /// @param totalMemory Bytes
    /// @param freeMemory Bytes
    public record Gpu(
            int index, String name, String computeCapability, int multiprocessors, long totalMemory, long freeMemory) {}

    /// Whether the engine can run.
    public boolean healthy() {
        return findings.stream().noneMatch(Finding::fatal);
    }

    /// Examines this process and this machine; opens and closes a session on every device.
    public static Checkup run() {
        // Asked before the library is loaded: loading it without permission warns today and then grants the permission.
        boolean nativeAccess = Engine.class.getModule().isNativeAccessEnabled();
        Java java = new Java(
                Runtime.version().toString(),
                System.getProperty("java.vendor"),
                System.getProperty("java.home"),
                nativeAccess,
                Runtime.getRuntime().maxMemory());
        Abi abi = Abi.loaded();
        Fit fit = new Fit(
                abi.file().map(Object::toString).orElse(""),
                abi.libraryHeaderSha256().equals(Optional.of(abi.headerSha256())),
                abi.headerSha256(),
                abi.libraryHeaderSha256().orElse(""));
        BuildInfo build = BuildInfo.read();
        if (abi.problem().isPresent()) {
            List<Finding> findings = new ArrayList<>();
            findings.add(new Finding(
                    true,
                    "the native library cannot be used: " + abi.problem().get().getMessage(),
                    "build it with tools/check, or name another with -Dsmpo.library=... or SMPO_LIBRARY"));
            addJavaFindings(findings, java);
            return new Checkup(build, java, fit, null, null, null, null, List.of(), List.copyOf(findings));
        }
        LibraryInfo library = LibraryInfo.read();
        CpuInfo cpu = CpuInfo.read();
        CudaInfo cuda = CudaInfo.read();
        List<SmokeTest> smokeTests = new ArrayList<>();
        smokeTests.add(SmokeTest.on(Device.CPU));
        for (int i = 0; i < cuda.deviceCount(); i++) {
            smokeTests.add(SmokeTest.on(Device.cuda(i)));
        }
        return new Checkup(
                build,
                java,
                fit,
                new Library(
                        library.version(),
                        library.commit(),
                        library.buildType(),
                        library.compiler(),
                        library.libtorch(),
                        library.cudaCompiled(),
                        library.cudaTargets()),
                describe(cpu),
                new Memory(cpu.totalMemory(), cpu.availableMemory()),
                describe(cuda),
                List.copyOf(smokeTests),
                findings(build, java, library, cpu, cuda, smokeTests));
    }

    static List<Finding> findings(
            BuildInfo build, Java java, LibraryInfo library, CpuInfo cpu, CudaInfo cuda, List<SmokeTest> smokeTests) {
        List<Finding> findings = new ArrayList<>();
        for (SmokeTest test : smokeTests) {
            if (!test.passed()) {
                findings.add(new Finding(
                        true,
                        "the smoke test on " + test.device() + " failed: " + test.problem(),
                        test.device().equals("cpu")
                                ? "rebuild with tools/check and see which test fails"
                                : "run tools/gpu-check, or hide the device with CUDA_VISIBLE_DEVICES"));
            }
        }
        addJavaFindings(findings, java);
        if (build.differsFrom(library.commit())) {
            findings.add(new Finding(
                    false,
                    "the Java classes are from commit " + build.commit() + ", the library is from " + library.commit(),
                    "rebuild both with tools/check"));
        }
        if (!cpu.features().contains(CpuFeature.AVX2)) {
            findings.add(new Finding(
                    false,
                    "the CPU has no AVX2, so kernels run their slow baseline code",
                    "use a CPU made since 2015, or let the virtual machine expose the features of the host"));
        }
        if (cpu.availableMemory() < LITTLE_MEMORY) {
            findings.add(new Finding(
                    false,
                    "only " + gibibytes(cpu.availableMemory()) + " of memory is available; a Stable Diffusion UNet "
                            + "takes 3.4 GB in float32",
                    "close other programs or raise the container's limit"));
        }
        if (java.heapLimit() > cpu.totalMemory() / 2) {
            findings.add(new Finding(
                    false,
                    "the Java heap may take " + gibibytes(java.heapLimit()) + " of " + gibibytes(cpu.totalMemory())
                            + ", but tensors live outside it",
                    "lower -Xmx; 2g is enough for training"));
        }
        if (cuda.deviceCount() == 0) {
            findings.add(new Finding(false, "no CUDA device: " + cuda.problem(), cudaAdvice(cuda)));
        }
        return List.copyOf(findings);
    }

    private static void addJavaFindings(List<Finding> findings, Java java) {
        if (!java.nativeAccess()) {
            findings.add(new Finding(
                    false,
                    "native access is not enabled on the command line; Java warns about it and will refuse it in"
                            + " future",
                    "start with tools/smpo, or with java --enable-native-access=ALL-UNNAMED"));
        }
    }

    private static String cudaAdvice(CudaInfo cuda) {
        if (!cuda.compiled()) {
            return "nothing, to compute on the CPU; for a GPU, build with CUDA";
        }
        return cuda.driverVersion() == 0
                ? "nothing, to compute on the CPU; for a GPU, install NVIDIA's driver"
                : "nothing, to compute on the CPU; for a GPU, see that nvidia-smi lists it and that "
                        + "CUDA_VISIBLE_DEVICES does not hide it";
    }

    private static Cpu describe(CpuInfo cpu) {
        return new Cpu(
                cpu.model(),
                cpu.physicalCores(),
                cpu.logicalCores(),
                cpu.features().stream()
                        .map(feature -> feature.name().toLowerCase(Locale.ROOT))
                        .toList(),
                kernels(cpu),
                precision(cpu));
    }

    static String kernels(CpuInfo cpu) {
        if (cpu.features().contains(CpuFeature.AVX512F)) {
            return "avx512f";
        }
        return cpu.features().contains(CpuFeature.AVX2) ? "avx2" : "baseline";
    }

    static String precision(CpuInfo cpu) {
        String best = cpu.defaultPrecision().id();
        if (cpu.features().contains(CpuFeature.AMX_BF16)) {
            return best + ", which amx_bf16 multiplies in hardware";
        }
        return cpu.features().contains(CpuFeature.AVX512_BF16)
                ? best + ": without amx_bf16, bf16 is slower, also with avx512_bf16"
                : best + ": without amx_bf16, bf16 is emulated";
    }

    private static Cuda describe(CudaInfo cuda) {
        return new Cuda(
                cuda.compiled(),
                cuda.driverVersion(),
                cuda.runtimeVersion(),
                cuda.problem(),
                cuda.devices().stream()
                        .map(device -> new Gpu(
                                device.index(),
                                device.name(),
                                device.computeMajor() + "." + device.computeMinor(),
                                device.multiprocessors(),
                                device.totalMemory(),
                                device.freeMemory()))
                        .toList());
    }

    /// "1.5 GiB".
    static String gibibytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30));
    }
}
