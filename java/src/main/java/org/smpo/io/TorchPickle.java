package org.smpo.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// A pickle machine that builds tensors, dictionaries, lists, numbers and texts, and nothing else.
///
/// It knows the opcodes that `torch.save` writes for such objects (protocol 2), and the callables that
/// rebuild tensors. Every other opcode or name is refused by name; nothing in the file is ever executed.
final class TorchPickle {
    private static final int MOST_DEPTH = 64;

    private static final Map<String, DType> STORAGES = Map.of(
            "torch.FloatStorage", DType.F32,
            "torch.HalfStorage", DType.F16,
            "torch.BFloat16Storage", DType.BF16,
            "torch.DoubleStorage", DType.F64,
            "torch.LongStorage", DType.I64,
            "torch.IntStorage", DType.I32,
            "torch.ShortStorage", DType.I16,
            "torch.CharStorage", DType.I8,
            "torch.ByteStorage", DType.U8,
            "torch.BoolStorage", DType.BOOL);
    private static final String ORDERED_DICT = "collections.OrderedDict";
    private static final String TENSOR = "torch._utils._rebuild_tensor_v2";
    private static final String PARAMETER = "torch._utils._rebuild_parameter";

    /// The bytes that a tensor is a view of.
    ///
    /// @param key name of the ZIP entry below `data/`
    /// @param dtype dtype of the elements
    /// @param elements number of elements
    record Storage(String key, DType dtype, long elements) {}

    /// A view of a storage.
    ///
    /// @param storage storage that holds the elements
    /// @param offset index of the first element
    /// @param shape dimensions, outermost first
    /// @param strides distance between neighbours along each dimension, in elements
    record Tensor(Storage storage, long offset, List<Long> shape, List<Long> strides) {
        long elements() {
            return shape.stream().reduce(1L, Math::multiplyExact);
        }
    }

    private record Callable(String name) {}

    private record Tuple(List<Object> items) {}

    private static final Object MARK = new Object();
    private static final Object NONE = new Object();

    private final String source;
    private final ByteBuffer in;
    private final List<Object> stack = new ArrayList<>();
    private final Map<Integer, Object> memo = new HashMap<>();

    private TorchPickle(String source, byte[] bytes) {
        this.source = source;
        this.in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    /// Returns every tensor of a pickle by name. The name joins the keys that lead to the tensor with
    /// dots; keys below a top-level `state_dict` stand alone.
    ///
    /// @param source file and entry, for messages
    /// @throws IOException when the pickle is damaged or holds anything but tensors, dictionaries,
    ///     lists, numbers and texts
    static Map<String, Tensor> tensors(String source, byte[] bytes) throws IOException {
        TorchPickle pickle = new TorchPickle(source, bytes);
        Object root;
        try {
            root = pickle.run();
        } catch (java.nio.BufferUnderflowException e) {
            throw pickle.fault("a complete pickle", "its end");
        }
        Object inner =
                root instanceof Map<?, ?> map && map.get("state_dict") instanceof Map<?, ?> states ? states : root;
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        pickle.collect("", inner, 0, Collections.newSetFromMap(new java.util.IdentityHashMap<>()), tensors);
        return tensors;
    }

    private void collect(String name, Object value, int depth, java.util.Set<Object> seen, Map<String, Tensor> tensors)
            throws IOException {
        if (value instanceof Tensor tensor) {
            if (tensors.put(name, tensor) != null) {
                throw fault("one tensor named " + name, "several");
            }
            return;
        }
        Map<Object, Object> children = new LinkedHashMap<>();
        switch (value) {
            case Map<?, ?> map -> children.putAll(map);
            case List<?> list -> {
                for (int i = 0; i < list.size(); i++) {
                    children.put((long) i, list.get(i));
                }
            }
            case Tuple tuple -> {
                for (int i = 0; i < tuple.items.size(); i++) {
                    children.put((long) i, tuple.items.get(i));
                }
            }
            default -> {}
        }
        if (children.isEmpty()) {
            return;
        }
        if (depth == MOST_DEPTH || !seen.add(value)) {
            throw fault(
                    "a tree of dictionaries at most " + MOST_DEPTH + " deep", "one that is deeper or refers to itself");
        }
        for (Map.Entry<Object, Object> child : children.entrySet()) {
            String path = name.isEmpty() ? child.getKey().toString() : name + "." + child.getKey();
            collect(path, child.getValue(), depth + 1, seen, tensors);
        }
    }

    private IOException fault(String expected, String found) {
        return new IOException(source + ": expected " + expected + ", found " + found);
    }

    private Object run() throws IOException {
        while (true) {
            int opcode = Byte.toUnsignedInt(in.get());
            switch (opcode) {
                case 0x80 -> {
                    int protocol = Byte.toUnsignedInt(in.get());
                    if (protocol != 2) {
                        throw fault("pickle protocol 2, as torch.save writes by default", "protocol " + protocol);
                    }
                }
                case '(' -> stack.add(MARK);
                case '}' -> stack.add(new LinkedHashMap<>());
                case ']' -> stack.add(new ArrayList<>());
                case ')' -> stack.add(new Tuple(List.of()));
                case 'N' -> stack.add(NONE);
                case 0x88 -> stack.add(true);
                case 0x89 -> stack.add(false);
                case 'K' -> stack.add((long) Byte.toUnsignedInt(in.get()));
                case 'M' -> stack.add((long) Short.toUnsignedInt(in.getShort()));
                case 'J' -> stack.add((long) in.getInt());
                case 0x8a -> stack.add(longInteger());
                case 'G' -> stack.add(Double.longBitsToDouble(Long.reverseBytes(in.getLong())));
                case 'X' -> stack.add(text(in.getInt()));
                case 'c' -> stack.add(callable(line() + "." + line()));
                case 'q' -> memo.put(Byte.toUnsignedInt(in.get()), top());
                case 'r' -> memo.put(in.getInt(), top());
                case 'h' -> stack.add(remembered(Byte.toUnsignedInt(in.get())));
                case 'j' -> stack.add(remembered(in.getInt()));
                case 't' -> {
                    List<Object> items = toMark();
                    stack.add(new Tuple(items));
                }
                case 0x85, 0x86, 0x87 -> {
                    Object[] items = new Object[opcode - 0x84];
                    for (int i = items.length - 1; i >= 0; i--) {
                        items[i] = pop();
                    }
                    stack.add(new Tuple(List.of(items)));
                }
                case 's' -> {
                    Object value = pop();
                    put(pop(), value);
                }
                case 'u' -> {
                    List<Object> items = toMark();
                    if (items.size() % 2 != 0) {
                        throw fault("keys and values", "an odd number of items");
                    }
                    for (int i = 0; i < items.size(); i += 2) {
                        put(items.get(i), items.get(i + 1));
                    }
                }
                case 'a' -> {
                    Object value = pop();
                    list().add(value);
                }
                case 'e' -> {
                    List<Object> items = toMark();
                    list().addAll(items);
                }
                case 'Q' -> stack.add(storage(pop()));
                case 'R' -> {
                    Object arguments = pop();
                    stack.add(call(pop(), arguments));
                }
                case 'b' -> {
                    // The only state that torch.save attaches is _metadata: versions of modules.
                    Object state = pop();
                    if (!(state instanceof Map<?, ?>) || !(top() instanceof Map<?, ?>)) {
                        throw fault("the state of a dictionary", "that of " + kind(top()));
                    }
                }
                case '.' -> {
                    Object result = pop();
                    if (!stack.isEmpty() || in.hasRemaining()) {
                        throw fault("one object", "more after it");
                    }
                    return result;
                }
                default -> throw fault("tensors only", "pickle opcode 0x" + Integer.toHexString(opcode));
            }
        }
    }

    private Object pop() throws IOException {
        Object top = top();
        stack.removeLast();
        return top;
    }

    private Object top() throws IOException {
        if (stack.isEmpty() || MARK.equals(stack.getLast())) {
            throw fault("an object on the pickle's stack", "none");
        }
        return stack.getLast();
    }

    private List<Object> toMark() throws IOException {
        int mark = stack.lastIndexOf(MARK);
        if (mark < 0) {
            throw fault("a mark on the pickle's stack", "none");
        }
        List<Object> part = stack.subList(mark + 1, stack.size());
        List<Object> items = new ArrayList<>(part);
        part.clear();
        stack.removeLast();
        return items;
    }

    private Object remembered(int index) throws IOException {
        Object value = memo.get(index);
        if (value == null) {
            throw fault("an object at memo " + index, "none");
        }
        return value;
    }

    private long longInteger() throws IOException {
        int bytes = Byte.toUnsignedInt(in.get());
        if (bytes > Long.BYTES) {
            throw fault("an integer of at most 8 bytes", bytes + " bytes");
        }
        long value = 0;
        for (int i = 0; i < bytes; i++) {
            long part = i == bytes - 1 ? in.get() : Byte.toUnsignedInt(in.get());
            value |= part << (8 * i);
        }
        return value;
    }

    private String text(int bytes) throws IOException {
        if (bytes < 0 || bytes > in.remaining()) {
            throw fault("a text within the pickle", Integer.toUnsignedString(bytes) + " bytes");
        }
        byte[] text = new byte[bytes];
        in.get(text);
        return new String(text, StandardCharsets.UTF_8);
    }

    private String line() throws IOException {
        int start = in.position();
        while (in.get() != '\n') {
            if (in.position() - start > 1000) {
                throw fault("a name", "more than 1000 bytes without an end");
            }
        }
        return new String(in.array(), start, in.position() - start - 1, StandardCharsets.UTF_8);
    }

    private Callable callable(String name) throws IOException {
        if (!STORAGES.containsKey(name)
                && !name.equals(ORDERED_DICT)
                && !name.equals(TENSOR)
                && !name.equals(PARAMETER)) {
            throw fault("tensors only", "a pickle that names " + name);
        }
        return new Callable(name);
    }

    @SuppressWarnings("unchecked")
    private void put(Object key, Object value) throws IOException {
        if (!(key instanceof String || key instanceof Long)) {
            throw fault("a text or a number as key", kind(key));
        }
        if (!(top() instanceof Map<?, ?> map)) {
            throw fault("a dictionary", kind(top()));
        }
        ((Map<Object, Object>) map).put(key, value);
    }

    @SuppressWarnings("unchecked")
    private List<Object> list() throws IOException {
        if (!(top() instanceof List<?> list)) {
            throw fault("a list", kind(top()));
        }
        return (List<Object>) list;
    }

    private static String kind(Object value) {
        return switch (value) {
            case Callable callable -> callable.name;
            case Tensor tensor -> "a tensor";
            case Storage storage -> "a storage";
            case Tuple tuple -> "a tuple";
            case Map<?, ?> map -> "a dictionary";
            case List<?> list -> "a list";
            case String text -> "a text";
            default -> value.equals(NONE) ? "None" : value.toString();
        };
    }

    private static List<String> kinds(List<Object> items) {
        return items.stream().map(TorchPickle::kind).toList();
    }

    /// ("storage", class, key, device, number of elements); the device does not matter here.
    private Storage storage(Object id) throws IOException {
        if (id instanceof Tuple(List<Object> items)
                && items.size() == 5
                && "storage".equals(items.get(0))
                && items.get(1) instanceof Callable(String name)
                && STORAGES.containsKey(name)
                && items.get(2) instanceof String key
                && items.get(3) instanceof String
                && items.get(4) instanceof Long elements
                && elements >= 0) {
            return new Storage(key, STORAGES.get(name), elements);
        }
        throw fault("the reference to a storage", kind(id));
    }

    private Object call(Object function, Object arguments) throws IOException {
        if (function instanceof Callable(String name) && arguments instanceof Tuple(List<Object> items)) {
            if (name.equals(ORDERED_DICT) && items.isEmpty()) {
                return new LinkedHashMap<>();
            }
            if (name.equals(TENSOR)
                    && items.size() >= 6
                    && items.get(0) instanceof Storage storage
                    && items.get(1) instanceof Long offset
                    && items.get(2) instanceof Tuple(List<Object> shape)
                    && items.get(3) instanceof Tuple(List<Object> strides)) {
                return tensor(storage, offset, shape, strides);
            }
            if (name.equals(PARAMETER) && items.size() == 3 && items.get(0) instanceof Tensor tensor) {
                return tensor;
            }
        }
        throw fault("a call that rebuilds a tensor", "one of " + kind(function));
    }

    /// A view within its storage, each element of which it reads at most once.
    private Tensor tensor(Storage storage, long offset, List<Object> sizes, List<Object> steps) throws IOException {
        List<Long> shape = new ArrayList<>();
        List<Long> strides = new ArrayList<>();
        if (sizes.size() != steps.size() || sizes.size() > MOST_DEPTH) {
            throw fault("one stride per dimension", sizes.size() + " dimensions and " + steps.size() + " strides");
        }
        try {
            long elements = 1;
            long last = offset;
            for (int i = 0; i < sizes.size(); i++) {
                if (!(sizes.get(i) instanceof Long size)
                        || !(steps.get(i) instanceof Long stride)
                        || size < 0
                        || stride < 0
                        || (stride == 0 && size > 1)) {
                    throw fault("sizes and strides of distinct elements", kinds(sizes) + " and " + kinds(steps));
                }
                shape.add(size);
                strides.add(stride);
                elements = Math.multiplyExact(elements, size);
                last = Math.addExact(last, Math.multiplyExact(Math.max(0, size - 1), stride));
            }
            boolean inside = elements == 0 ? offset <= storage.elements : last < storage.elements;
            if (offset < 0 || !inside || elements > storage.elements) {
                throw fault(
                        "a tensor within its storage of " + storage.elements + " elements",
                        "shape " + shape + " with strides " + strides + " from " + offset);
            }
        } catch (ArithmeticException e) {
            throw fault("a tensor within its storage", "shape " + kinds(sizes) + " with strides " + kinds(steps));
        }
        return new Tensor(storage, offset, shape, strides);
    }
}
