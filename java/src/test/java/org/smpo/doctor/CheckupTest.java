package org.smpo.doctor;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.smpo.ffi.CpuFeature;
import org.smpo.ffi.CpuInfo;
import org.smpo.ffi.CudaInfo;
import org.smpo.ffi.LibraryInfo;

/// The checkup's findings about this machine and about machines with problems.
class CheckupTest {
    private static final long GIB = 1L << 30;
    private static final BuildInfo BUILD = new BuildInfo("0.1.0", "abc", "");
    private static final Checkup.Java JAVA = new Checkup.Java("25", "vendor", "/jdk", true, 2 * GIB);
    private static final LibraryInfo LIBRARY = new LibraryInfo(1, "0.1.0", "abc", "Release", "GNU", "2.11.0", "", "");
    private static final CpuInfo CPU =
            new CpuInfo("cpu", Set.of(CpuFeature.AVX2, CpuFeature.FMA), 8, 4, 32 * GIB, 16 * GIB);
    private static final CudaInfo CUDA = new CudaInfo(true, 1, 13000, 13000, "");
    private static final SmokeTest PASSED = new SmokeTest("cpu", 1, "");

    @Test
    void thisMachineIsHealthy() {
        Checkup checkup = Checkup.run();
        assertThat(checkup.findings()).noneMatch(Finding::fatal);
        assertThat(checkup.healthy()).isTrue();
        assertThat(checkup.smokeTests()).isNotEmpty().allMatch(SmokeTest::passed);
        assertThat(checkup.abi().matches()).isTrue();
        assertThat(checkup.abi().file()).isEqualTo(System.getProperty("smpo.library"));
    }

    @Test
    void aGoodMachineHasNoFindings() {
        assertThat(Checkup.findings(BUILD, JAVA, LIBRARY, CPU, CUDA, List.of(PASSED)))
                .isEmpty();
    }

    @Test
    void aFailedSmokeTestIsFatal() {
        SmokeTest failed = new SmokeTest("cuda:0", 1, "no kernel image");
        assertThat(Checkup.findings(BUILD, JAVA, LIBRARY, CPU, CUDA, List.of(PASSED, failed)))
                .singleElement()
                .satisfies(finding -> {
                    assertThat(finding.fatal()).isTrue();
                    assertThat(finding.what()).contains("cuda:0", "no kernel image");
                    assertThat(finding.advice()).contains("tools/gpu-check");
                });
    }

    @Test
    void eachLesserProblemHasALineWithWhatToDo() {
        assertNote(
                Checkup.findings(
                        BUILD,
                        new Checkup.Java("25", "vendor", "/jdk", false, 2 * GIB),
                        LIBRARY,
                        CPU,
                        CUDA,
                        List.of(PASSED)),
                "native access",
                "--enable-native-access=ALL-UNNAMED");
        assertNote(
                Checkup.findings(
                        BUILD,
                        new Checkup.Java("25", "vendor", "/jdk", true, 20 * GIB),
                        LIBRARY,
                        CPU,
                        CUDA,
                        List.of(PASSED)),
                "20.0 GiB of 32.0 GiB",
                "-Xmx");
        assertNote(
                Checkup.findings(new BuildInfo("0.1.0", "def", ""), JAVA, LIBRARY, CPU, CUDA, List.of(PASSED)),
                "commit def",
                "tools/check");
        assertNote(
                Checkup.findings(
                        BUILD,
                        JAVA,
                        LIBRARY,
                        new CpuInfo("cpu", Set.of(), 8, 4, 32 * GIB, 16 * GIB),
                        CUDA,
                        List.of(PASSED)),
                "no AVX2",
                "use a CPU");
        assertNote(
                Checkup.findings(
                        BUILD,
                        JAVA,
                        LIBRARY,
                        new CpuInfo("cpu", CPU.features(), 8, 4, 32 * GIB, GIB),
                        CUDA,
                        List.of(PASSED)),
                "only 1.0 GiB of memory",
                "close other programs");
        for (CudaInfo none : List.of(
                new CudaInfo(false, 0, 0, 0, "built without CUDA"),
                new CudaInfo(true, 0, 0, 13000, "there is no driver"),
                new CudaInfo(true, 0, 13000, 13000, "no device"))) {
            assertNote(Checkup.findings(BUILD, JAVA, LIBRARY, CPU, none, List.of(PASSED)), none.problem(), "for a GPU");
        }
    }

    @Test
    void unknownCommitsDoNotDiffer() {
        assertThat(new BuildInfo("0.1.0", "unknown", "").differsFrom("abc")).isFalse();
        assertThat(BUILD.differsFrom("unknown")).isFalse();
        assertThat(BUILD.differsFrom("abc")).isFalse();
        assertThat(BUILD.differsFrom("abc-dirty")).isTrue();
    }

    @Test
    void bfloat16IsUsedOnlyWhereItIsFast() {
        assertThat(precision()).startsWith("fp32").contains("emulated");
        assertThat(precision(CpuFeature.AVX2, CpuFeature.FMA, CpuFeature.AVX512F))
                .startsWith("fp32");
        assertThat(precision(CpuFeature.AVX512F, CpuFeature.AVX512_BF16))
                .startsWith("fp32")
                .contains("avx512_bf16");
        assertThat(precision(CpuFeature.AVX512F, CpuFeature.AVX512_BF16, CpuFeature.AMX_BF16))
                .startsWith("bf16")
                .contains("amx_bf16");
    }

    @Test
    void theSmokeTestJudgesNumbers() {
        Random random = new Random(1);
        float[] good = new float[1 << 14];
        for (int i = 0; i < good.length; i++) {
            good[i] = (float) random.nextGaussian();
        }
        assertThat(SmokeTest.judge(good, good.clone())).isEmpty();
        float[] changed = good.clone();
        changed[77] = Math.nextUp(changed[77]);
        assertThat(SmokeTest.judge(good, changed)).contains("differ");
        float[] zeros = new float[1 << 14];
        assertThat(SmokeTest.judge(zeros, zeros)).contains("mean square 0.0");
        float[] shifted = good.clone();
        for (int i = 0; i < shifted.length; i++) {
            shifted[i] += 0.1f;
        }
        assertThat(SmokeTest.judge(shifted, shifted)).contains("normal numbers have mean");
        float[] nans = new float[1 << 14];
        Arrays.fill(nans, Float.NaN);
        assertThat(SmokeTest.judge(nans, nans)).contains("NaN");
    }

    private static String precision(CpuFeature... features) {
        return Checkup.precision(new CpuInfo("cpu", Set.of(features), 2, 1, GIB, GIB));
    }

    private static void assertNote(List<Finding> findings, String what, String advice) {
        assertThat(findings).singleElement().satisfies(finding -> {
            assertThat(finding.fatal()).isFalse();
            assertThat(finding.what()).contains(what);
            assertThat(finding.advice()).contains(advice);
        });
    }
}
