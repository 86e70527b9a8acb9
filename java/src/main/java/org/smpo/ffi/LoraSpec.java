package org.smpo.ffi;

import java.util.List;

/// Low-rank adapters on layers of a model: `y += scale * alpha / rank * B(A(x))`.
///
/// @param rank Rank of the adapters, 1 or more
/// @param alpha Numerator of the scaling factor in the formula above
/// @param modules Names of linear and convolution layers
public record LoraSpec(int rank, double alpha, List<String> modules) {

    /// Checks the number of modules.
    ///
    /// @throws InvalidArgumentException when there are no modules, or more than the library accepts
    public LoraSpec {
        modules = List.copyOf(modules);
        if (modules.isEmpty() || modules.size() > Native.MAX_LORA_MODULES) {
            throw new InvalidArgumentException(
                    "LoraSpec: modules: expected 1 to " + Native.MAX_LORA_MODULES + ", got " + modules.size(), 0);
        }
    }
}
