package org.smpo.io;

import java.util.List;

/// A tensor of a file.
///
/// @param name name in the header
/// @param dtype element type
/// @param shape dimensions, outermost first; empty for a scalar
/// @param offset position of the first byte in a safetensors file; 0 in a torch file, whose tensors need
///     not be contiguous
/// @param length number of bytes: product of the dimensions times the element size
public record TensorEntry(String name, DType dtype, List<Long> shape, long offset, long length) {
    public TensorEntry {
        shape = List.copyOf(shape);
    }

    /// Product of the dimensions; 1 for a scalar.
    public long elements() {
        long elements = 1;
        for (long dimension : shape) {
            elements *= dimension;
        }
        return elements;
    }
}
