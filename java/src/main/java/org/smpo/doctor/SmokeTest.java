package org.smpo.doctor;

import java.util.Arrays;
import org.smpo.ffi.Device;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.EngineException;
import org.smpo.io.DType;

/// Result of opening a session on a device, using it and closing it.
///
/// @param device Name of the device, such as `cpu` or `cuda:0`
/// @param millis Duration in milliseconds
/// @param problem Description of the failure; empty if the test passed
public record SmokeTest(String device, long millis, String problem) {
    private static final int ROWS = 4;
    private static final int COLUMNS = 4096;

    /// Whether the test passed.
    public boolean passed() {
        return problem.isEmpty();
    }

    /// Copies a tensor to the device and back, converts it, generates normal numbers twice, and checks the results.
    static SmokeTest on(Device device) {
        long start = System.nanoTime();
        String problem;
        try (Engine engine = Engine.open(EngineConfig.onCpu().withDevice(device))) {
            problem = use(engine);
        } catch (EngineException | LinkageError e) {
            problem = String.valueOf(e.getMessage());
        }
        return new SmokeTest(device.toString(), (System.nanoTime() - start) / 1_000_000, problem);
    }

    private static String use(Engine engine) {
        float[] values = {0f, 1f, -2f, 0.5f, 65504f, -0.25f};
        try (DeviceTensor tensor = engine.fromHost(values, 2, 3);
                DeviceTensor half = tensor.convert(DType.F16)) {
            if (!Arrays.equals(tensor.toFloats(), values) || !Arrays.equals(half.toFloats(), values)) {
                return "a tensor came back from " + engine + " changed";
            }
        }
        try (DeviceTensor noise = engine.zeros(DType.F32, ROWS, COLUMNS)) {
            noise.fillNormal(0, 0, 0, 1, 2, 3);
            float[] first = noise.toFloats();
            noise.fillNormal(0, 0, 0, 1, 2, 3);
            return judge(first, noise.toFloats());
        }
    }

    /// Returns what is wrong with normal numbers that were generated twice with one key; empty if nothing is.
    static String judge(float[] first, float[] second) {
        if (!Arrays.equals(first, second)) {
            return "normal numbers generated twice with the same key differ";
        }
        double sum = 0;
        double squares = 0;
        for (float value : first) {
            sum += value;
            squares += (double) value * value;
        }
        double mean = sum / first.length;
        double meanSquare = squares / first.length;
        // Six standard deviations of each estimate; written so that a NaN fails.
        boolean centred = Math.abs(mean) < 6 / Math.sqrt(first.length);
        boolean scaled = Math.abs(meanSquare - 1) < 6 * Math.sqrt(2.0 / first.length);
        return centred && scaled
                ? ""
                : "normal numbers have mean " + mean + " and mean square " + meanSquare + ", not 0 and 1";
    }
}
