package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.SequenceLayout;
import java.lang.foreign.StructLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/// A C struct of the border in off-heap memory, read and written by field name.
///
/// Names are the header's. A name that the layout lacks, or a field of another width, fails at once.
record Struct(StructLayout layout, MemorySegment segment) {

    /// Allocates a zeroed struct and sets its first field, `size`, to its size in bytes, as every
    /// function of the border requires.
    static Struct allocate(StructLayout layout, SegmentAllocator allocator) {
        Struct struct = new Struct(layout, allocator.allocate(layout));
        struct.set("size", Math.toIntExact(layout.byteSize()));
        return struct;
    }

    /// Allocates a struct that lives as long as the session or the query that `arena` belongs to.
    static Struct allocate(StructLayout layout, Arena arena) {
        return allocate(layout, (SegmentAllocator) arena);
    }

    int getInt(String field) {
        return segment.get(JAVA_INT, offset(field, JAVA_INT.byteSize()));
    }

    long getLong(String field) {
        return segment.get(JAVA_LONG, offset(field, JAVA_LONG.byteSize()));
    }

    double getDouble(String field) {
        return segment.get(JAVA_DOUBLE, offset(field, JAVA_DOUBLE.byteSize()));
    }

    /// Returns the UTF-8 text of a `char[]` field up to its zero byte.
    String getString(String field) {
        PathElement path = PathElement.groupElement(field);
        return segment.asSlice(layout.byteOffset(path), layout.select(path).byteSize())
                .getString(0);
    }

    void set(String field, int value) {
        segment.set(JAVA_INT, offset(field, JAVA_INT.byteSize()), value);
    }

    void set(String field, long value) {
        segment.set(JAVA_LONG, offset(field, JAVA_LONG.byteSize()), value);
    }

    void set(String field, double value) {
        segment.set(JAVA_DOUBLE, offset(field, JAVA_DOUBLE.byteSize()), value);
    }

    void set(String field, MemorySegment address) {
        segment.set(ADDRESS, offset(field, ADDRESS.byteSize()), address);
    }

    /// Sets the first integers of an array field that has at least as many entries; the others do not
    /// change.
    void set(String field, List<Integer> values) {
        for (int i = 0; i < values.size(); i++) {
            segment.set(JAVA_INT, element(field, i, JAVA_INT.byteSize()), values.get(i));
        }
    }

    /// Sets one entry of an array of doubles.
    void set(String field, int index, double value) {
        segment.set(JAVA_DOUBLE, element(field, index, JAVA_DOUBLE.byteSize()), value);
    }

    /// Returns the first `count` entries of an array of 64-bit integers.
    List<Long> getLongs(String field, int count) {
        List<Long> values = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            values.add(segment.get(JAVA_LONG, element(field, i, JAVA_LONG.byteSize())));
        }
        return values;
    }

    private long element(String field, int index, long width) {
        PathElement path = PathElement.groupElement(field);
        if (!(layout.select(path) instanceof SequenceLayout array)
                || array.elementLayout().byteSize() != width) {
            throw new IllegalArgumentException(
                    "field " + field + " of " + layout + " is no array of " + width + "-byte elements");
        }
        return layout.byteOffset(path) + Objects.checkIndex(index, array.elementCount()) * width;
    }

    private long offset(String field, long width) {
        PathElement path = PathElement.groupElement(field);
        if (layout.select(path).byteSize() != width) {
            throw new IllegalArgumentException("field " + field + " of " + layout + " is not " + width + " bytes wide");
        }
        return layout.byteOffset(path);
    }
}
