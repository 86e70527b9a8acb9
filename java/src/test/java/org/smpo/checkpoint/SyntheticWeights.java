package org.smpo.checkpoint;

import java.nio.charset.StandardCharsets;
import java.util.List;

/// The weights and inputs of tools/golden/synthetic.py, bit for bit: a function of a tensor's name.
public final class SyntheticWeights {
    private static final int SEED = 42;
    private static final long PURPOSE = 255;
    private static final long ITEM_MASK = (1L << 56) - 1;

    private SyntheticWeights() {}

    /// Returns a weight by its name and shape: unit gain for two dimensions or more, about 1 for gains
    /// of norms, about 0 otherwise.
    public static float[] tensor(String name, List<Long> shape) {
        float[] values = uniform(name, Math.toIntExact(ModelConfig.elements(shape)));
        if (shape.size() >= 2) {
            long fanIn = ModelConfig.elements(shape.subList(1, shape.size()));
            float gain = (float) Math.sqrt(3f / fanIn);
            for (int i = 0; i < values.length; i++) {
                values[i] *= gain;
            }
            return values;
        }
        boolean gain = shape.size() == 1 && name.endsWith(".weight");
        for (int i = 0; i < values.length; i++) {
            values[i] = gain ? 1 + 0.1f * values[i] : 0.1f * values[i];
        }
        return values;
    }

    /// Returns numbers in [-1, 1).
    public static float[] uniform(String name, int count) {
        float[] values = new float[count];
        int[] words = new int[4];
        long item = fnv1a(name);
        for (int i = 0; i < count; i++) {
            if (i % 4 == 0) {
                philox(i / 4, item, words);
            }
            values[i] = (words[i % 4] >>> 8) * 0x1p-23f - 1;
        }
        return values;
    }

    private static long fnv1a(String name) {
        long value = 0xCBF29CE484222325L;
        for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
            value = (value ^ (b & 0xff)) * 0x100000001B3L;
        }
        return value & ITEM_MASK;
    }

    /// Philox4x32-10.
    private static void philox(int block, long item, int[] c) {
        c[0] = block;
        c[1] = (int) item;
        c[2] = 0;
        c[3] = (int) (PURPOSE << 24 | item >>> 32);
        int k0 = SEED;
        int k1 = 0;
        for (int round = 0; round < 10; round++) {
            long p0 = (c[0] & 0xFFFFFFFFL) * 0xD2511F53L;
            long p1 = (c[2] & 0xFFFFFFFFL) * 0xCD9E8D57L;
            int c0 = (int) (p1 >>> 32) ^ c[1] ^ k0;
            int c2 = (int) (p0 >>> 32) ^ c[3] ^ k1;
            c[1] = (int) p1;
            c[3] = (int) p0;
            c[0] = c0;
            c[2] = c2;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
    }
}
