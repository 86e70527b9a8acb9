package org.smpo.random;

import java.nio.charset.StandardCharsets;
import java.util.List;

/// Weights and inputs that Python, C++ and Java generate identically, so that golden files hold results
/// only: the rule of tools/golden/synthetic.py, bit for bit.
public final class Synthetic {
    private static final long SEED = 42;
    private static final int PURPOSE = 255;

    private Synthetic() {}

    /// Returns `count` numbers in [-1, 1) that depend on the name.
    public static float[] uniform(String name, int count) {
        long item = fnv1a(name);
        PhiloxStream stream = new PhiloxStream(SEED, (int) item, 0, PURPOSE << 24 | (int) (item >>> 32));
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (stream.nextWord() >>> 8) * 0x1p-23f - 1;
        }
        return values;
    }

    /// Returns a weight: of unit gain with two dimensions or more, near 1 for the gain of a norm,
    /// otherwise near 0.
    public static float[] tensor(String name, List<Long> shape) {
        float[] values = uniform(name, elements(shape));
        if (shape.size() >= 2) {
            scale(values, root(3f / (elements(shape) / shape.getFirst())));
            return values;
        }
        for (int i = 0; i < values.length; i++) {
            values[i] = name.endsWith(".weight") ? 1 + 0.1f * values[i] : 0.1f * values[i];
        }
        return values;
    }

    /// Returns an input with a variance of about 1.
    public static float[] normalLike(String name, int count) {
        float[] values = uniform(name, count);
        scale(values, root(3));
        return values;
    }

    private static void scale(float[] values, float by) {
        for (int i = 0; i < values.length; i++) {
            values[i] *= by;
        }
    }

    /// The result is rounded once, because a double's root has more than twice the bits.
    private static float root(float x) {
        return (float) Math.sqrt(x);
    }

    private static int elements(List<Long> shape) {
        return Math.toIntExact(shape.stream().reduce(1L, Math::multiplyExact));
    }

    private static long fnv1a(String name) {
        long value = 0xCBF29CE484222325L;
        for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
            value = (value ^ (b & 0xff)) * 0x100000001B3L;
        }
        return value & ((1L << 56) - 1);
    }
}
