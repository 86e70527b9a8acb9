package org.smpo.checkpoint;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// Parameter names and shapes in the order in which torch registers them.
final class ParameterTable {
    private final Map<String, List<Long>> shapes = new LinkedHashMap<>();

    /// Weight [out, in] and, if it has one, bias [out].
    void linear(String name, long out, long in, boolean bias) {
        shapes.put(name + ".weight", List.of(out, in));
        if (bias) {
            shapes.put(name + ".bias", List.of(out));
        }
    }

    /// Weight [out, in, kernel, kernel] and bias [out].
    void conv(String name, long out, long in, long kernel) {
        shapes.put(name + ".weight", List.of(out, in, kernel, kernel));
        shapes.put(name + ".bias", List.of(out));
    }

    /// Weight and bias [channels].
    void norm(String name, long channels) {
        shapes.put(name + ".weight", List.of(channels));
        shapes.put(name + ".bias", List.of(channels));
    }

    void add(String name, Long... shape) {
        shapes.put(name, List.of(shape));
    }

    /// ResnetBlock2D; `timeChannels` 0 without a time embedding.
    void resnet(String name, long in, long out, long timeChannels) {
        norm(name + ".norm1", in);
        conv(name + ".conv1", out, in, 3);
        if (timeChannels > 0) {
            linear(name + ".time_emb_proj", out, timeChannels, true);
        }
        norm(name + ".norm2", out);
        conv(name + ".conv2", out, out, 3);
        if (in != out) {
            conv(name + ".conv_shortcut", out, in, 1);
        }
    }

    Map<String, List<Long>> shapes() {
        return Collections.unmodifiableMap(shapes);
    }
}
