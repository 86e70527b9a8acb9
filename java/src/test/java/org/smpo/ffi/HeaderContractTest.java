package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.SequenceLayout;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.smpo.io.DType;
import org.smpo.objective.Method;
import org.smpo.objective.Objective;
import org.smpo.objective.Selfnpo;

/// The hand-written bindings agree with `smpo.h`: every function, struct and constant, in both
/// directions. Needs no library.
class HeaderContractTest {
    private static final String HEADER = new String(Abi.bundledHeader(), StandardCharsets.UTF_8);

    @Test
    void bindingsEqualTheHeader() {
        assertThat(differences(HEADER)).isEmpty();
    }

    @Test
    void everythingInTheHeaderIsRead() {
        Header header = Header.parse(HEADER);
        assertThat(header.functions())
                .hasSizeGreaterThanOrEqualTo(21)
                .containsKeys("smpo_abi_version", "smpo_tensor_close");
        assertThat(header.structs()).hasSizeGreaterThanOrEqualTo(9);
        assertThat(header.constants()).hasSizeGreaterThanOrEqualTo(40).containsEntry("SMPO_INTERNAL", 12L);
        assertThat(Header.size(header.structs().get("smpo_error"))).isEqualTo(1024);
        assertThat(Header.size(header.structs().get("smpo_log_record"))).isEqualTo(256);
    }

    /// Proof that the comparison can fail, one for each kind of drift.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        a narrower parameter   | uint64_t bytes, smpo_error *error        | uint32_t bytes, smpo_error *error      | smpo_tensor_to_host
        a wider parameter      | uint32_t step,                           | uint64_t step,                         | smpo_tensor_fill_normal
        a value, not a pointer | uint32_t *version                        | uint32_t version                       | smpo_abi_version
        one parameter more     | smpo_session_trim(smpo_session session,  | smpo_session_trim(smpo_session session, int32_t hard, | smpo_session_trim
        one parameter fewer    | uint32_t purpose, uint32_t step,         | uint32_t purpose,                      | smpo_tensor_fill_normal
        swapped parameters     | int32_t index, smpo_cuda_device_info *info | smpo_cuda_device_info *info, int32_t index | smpo_cuda_device_describe
        a renamed function     | smpo_session_trim(                       | smpo_session_shrink(                   | smpo_session_shrink
        a handle's own type    | typedef uint64_t smpo_tensor;            | typedef uint32_t smpo_tensor;          | smpo_tensor_close
        a renamed field        | int32_t threads;                         | int32_t workers;                       | smpo_session_config
        a wider field          | int32_t compiled;                        | int64_t compiled;                      | smpo_cuda_info
        a longer text          | char model[96]                           | char model[128]                        | smpo_cpu_info
        a longer array         | int64_t shape[8]                         | int64_t shape[10]                      | smpo_tensor_spec
        another constant       | SMPO_BF16 = 2, SMPO_F16 = 3              | SMPO_BF16 = 3, SMPO_F16 = 2            | SMPO_BF16
        another status         | SMPO_CANCELLED = 10                      | SMPO_CANCELLED = 13                    | SMPO_CANCELLED
        another version        | SMPO_ABI_VERSION = 1                     | SMPO_ABI_VERSION = 2                   | SMPO_ABI_VERSION
        """)
    void driftIsNoticed(String what, String from, String to, String named) {
        assertThat(HEADER.contains(from)).as("the header has: " + from).isTrue();
        assertThat(differences(HEADER.replace(from, to)))
                .as(what)
                .anySatisfy(line -> assertThat(line).contains(named));
    }

    @Test
    void aFieldAddedInTheMiddleIsNoticed() {
        String mutated = HEADER.replace("uint32_t open_tensors;", "uint32_t open_tensors; uint64_t open_models;");
        assertThat(differences(mutated)).anySatisfy(line -> assertThat(line).contains("smpo_session_statistics"));
    }

    @Test
    void anAddedFunctionAndAnAddedConstantAreNoticed() {
        String mutated = HEADER + "\nsmpo_status smpo_session_pause(smpo_session session, smpo_error *error);\n"
                + "enum { SMPO_F64 = 6 };\n";
        assertThat(differences(mutated))
                .anySatisfy(line -> assertThat(line).contains("smpo_session_pause"))
                .anySatisfy(line -> assertThat(line).contains("SMPO_F64"));
    }

    @Test
    void anotherOrderOfFunctionsIsNoticed() {
        String close = "smpo_status smpo_session_close(smpo_session session, smpo_error *error);";
        String cancel = "smpo_status smpo_session_cancel(smpo_session session, smpo_error *error);";
        String mutated = HEADER.replace(close, "@").replace(cancel, close).replace("@", cancel);
        assertThat(differences(mutated)).anySatisfy(line -> assertThat(line).contains("order"));
    }

    /// Changing the type of the first parameter is detected for every function.
    @ParameterizedTest
    @MethodSource("functionNames")
    void everyFunctionIsCompared(String name) {
        Header header = Header.parse(HEADER);
        List<Header.Type> parameters = header.functions().get(name);
        List<Header.Type> mutated = new ArrayList<>(parameters);
        mutated.set(0, parameters.getFirst() == Header.Type.INT32 ? Header.Type.INT64 : Header.Type.INT32);
        Map<String, List<Header.Type>> functions = new LinkedHashMap<>(header.functions());
        functions.put(name, mutated);
        assertThat(differences(new Header(functions, header.structs(), header.constants())))
                .hasSize(1)
                .first()
                .asString()
                .contains(name);
    }

    static List<String> functionNames() {
        return List.copyOf(Header.parse(HEADER).functions().keySet());
    }

    /// Moving a field by a byte is detected for every field.
    @ParameterizedTest
    @MethodSource("fieldNames")
    void everyFieldIsCompared(String struct, int index) {
        Header header = Header.parse(HEADER);
        List<Header.Field> fields = new ArrayList<>(header.structs().get(struct));
        Header.Field field = fields.get(index);
        fields.set(index, new Header.Field(field.name(), field.type(), field.count(), field.offset() + 1));
        Map<String, List<Header.Field>> structs = new LinkedHashMap<>(header.structs());
        structs.put(struct, fields);
        assertThat(differences(new Header(header.functions(), structs, header.constants())))
                .anySatisfy(line -> assertThat(line).contains(struct).contains(field.name()));
    }

    static List<Arguments> fieldNames() {
        List<Arguments> all = new ArrayList<>();
        Header.parse(HEADER).structs().forEach((name, fields) -> {
            for (int i = 0; i < fields.size(); i++) {
                all.add(Arguments.of(name, i));
            }
        });
        return all;
    }

    @Test
    void unknownSyntaxIsAnError() {
        assertThatThrownBy(() -> Header.parse(HEADER.replace("uint32_t open_tensors", "unsigned open_tensors")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("unsigned");
        assertThatThrownBy(() -> Header.parse(HEADER + "\nint smpo_unguarded(void);\n"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("smpo_unguarded");
    }

    private static List<String> differences(String header) {
        return differences(Header.parse(header));
    }

    private static List<String> differences(Header header) {
        List<String> differences = new ArrayList<>();
        compare(differences, "functions", header.functions(), boundSignatures());
        if (differences.isEmpty()
                && !List.copyOf(header.functions().keySet())
                        .equals(List.copyOf(Native.functions().keySet()))) {
            differences.add("functions: Native binds them in another order than the header's");
        }
        compare(differences, "structs", layouts(header), boundLayouts());
        compare(differences, "constants", header.constants(), boundConstants());
        return differences;
    }

    private static <V> void compare(
            List<String> differences, String kind, Map<String, V> header, Map<String, V> bound) {
        header.forEach((name, value) -> {
            if (!value.equals(bound.get(name))) {
                differences.add(kind + ": " + name + ": header " + value + ", Java " + bound.get(name));
            }
        });
        bound.forEach((name, value) -> {
            if (!header.containsKey(name)) {
                differences.add(kind + ": " + name + ": not in the header, Java " + value);
            }
        });
    }

    private static Map<String, List<Header.Type>> boundSignatures() {
        Map<String, List<Header.Type>> signatures = new LinkedHashMap<>();
        for (Map.Entry<String, FunctionDescriptor> function : Native.functions().entrySet()) {
            assertThat(function.getValue().returnLayout()).contains(ValueLayout.JAVA_INT);
            signatures.put(
                    function.getKey(),
                    function.getValue().argumentLayouts().stream()
                            .map(HeaderContractTest::type)
                            .toList());
        }
        return signatures;
    }

    /// Each struct as "name type[count] @offset" per field, and its size.
    private static Map<String, String> layouts(Header header) {
        Map<String, String> layouts = new LinkedHashMap<>();
        header.structs().forEach((name, fields) -> {
            StringBuilder text = new StringBuilder();
            for (Header.Field field : fields) {
                append(text, field.name(), field.type(), field.count(), field.offset());
            }
            layouts.put(name, text.append(Header.size(fields)).append(" bytes").toString());
        });
        return layouts;
    }

    private static Map<String, String> boundLayouts() {
        Map<String, String> layouts = new LinkedHashMap<>();
        Native.structs().forEach((name, layout) -> layouts.put(name, text(layout)));
        return layouts;
    }

    private static String text(StructLayout layout) {
        StringBuilder text = new StringBuilder();
        for (MemoryLayout member : layout.memberLayouts()) {
            String name = member.name().orElseThrow();
            boolean array = member instanceof SequenceLayout;
            MemoryLayout element = member instanceof SequenceLayout sequence ? sequence.elementLayout() : member;
            long count = array ? ((SequenceLayout) member).elementCount() : 1;
            append(text, name, type(element), (int) count, layout.byteOffset(PathElement.groupElement(name)));
        }
        return text.append(layout.byteSize()).append(" bytes").toString();
    }

    private static void append(StringBuilder text, String name, Header.Type type, int count, long offset) {
        text.append(name)
                .append(' ')
                .append(type)
                .append('[')
                .append(count)
                .append("] @")
                .append(offset)
                .append(", ");
    }

    private static Header.Type type(MemoryLayout layout) {
        return switch (layout) {
            case AddressLayout address -> Header.Type.POINTER;
            case ValueLayout.OfInt number -> Header.Type.INT32;
            case ValueLayout.OfLong number -> Header.Type.INT64;
            case ValueLayout.OfDouble number -> Header.Type.DOUBLE;
            case ValueLayout.OfByte character -> Header.Type.CHAR;
            default -> throw new AssertionError("a layout that the border does not use: " + layout);
        };
    }

    private static Map<String, Long> boundConstants() {
        Map<String, Long> constants = new LinkedHashMap<>();
        constants.put("SMPO_ABI_VERSION", (long) Native.ABI_VERSION);
        constants.put("SMPO_MAX_RANK", (long) Native.MAX_RANK);
        constants.put("SMPO_MAX_LEVELS", (long) Native.MAX_LEVELS);
        constants.put("SMPO_MAX_LORA_MODULES", (long) Native.MAX_LORA_MODULES);
        constants.put("SMPO_SAMPLER_MAX_HISTORY", (long) Native.SAMPLER_MAX_HISTORY);
        constants.put("SMPO_SAMPLER_MAX_STEPS", (long) Native.SAMPLER_MAX_STEPS);
        constants.put("SMPO_SAMPLER_MAX_CANDIDATES", (long) Native.SAMPLER_MAX_CANDIDATES);
        constants.put("SMPO_MAX_BATCH_PAIRS", (long) Native.MAX_BATCH_PAIRS);
        constants.put("SMPO_MAX_INVERSION_STEPS", (long) Native.MAX_INVERSION_STEPS);
        constants.put("SMPO_MAX_LOSS_PARAMETERS", (long) Native.MAX_LOSS_PARAMETERS);
        Map<String, Integer> kinds = kinds();
        kinds.forEach((name, kind) -> constants.put("SMPO_PAIR_LOSS_" + name, (long) kind));
        constants.put("SMPO_PAIR_LOSS_KINDS", (long) kinds.size());
        for (PairBatch.Part part : PairBatch.Part.values()) {
            constants.put("SMPO_PAIR_BATCH_" + part, (long) part.code());
        }
        constants.put("SMPO_OPTIMIZER_ADAMW", (long) Native.OPTIMIZER_ADAMW);
        constants.put("SMPO_OPTIMIZER_ADAFACTOR", (long) Native.OPTIMIZER_ADAFACTOR);
        for (ModelKind kind : ModelKind.values()) {
            constants.put("SMPO_MODEL_" + kind, (long) kind.code());
        }
        for (PixelSpec.Filter filter : PixelSpec.Filter.values()) {
            constants.put("SMPO_FILTER_" + filter, (long) filter.code());
        }
        for (ClipActivation activation : ClipActivation.values()) {
            constants.put("SMPO_ACTIVATION_" + activation, (long) activation.code());
        }
        for (Status status : Status.values()) {
            constants.put("SMPO_" + status, (long) status.code());
        }
        for (CpuFeature feature : CpuFeature.values()) {
            constants.put("SMPO_CPU_" + feature, (long) feature.bit());
        }
        for (Device.Type type : Device.Type.values()) {
            constants.put("SMPO_DEVICE_" + type, (long) type.code());
        }
        for (LogLevel level : LogLevel.values()) {
            constants.put("SMPO_LOG_" + level, (long) level.code());
        }
        for (Raise kind : Raise.values()) {
            constants.put("SMPO_RAISE_" + kind, (long) kind.code());
        }
        for (DType dtype : DTypeCode.CODES.keySet()) {
            constants.put("SMPO_" + dtype, (long) DTypeCode.of(dtype));
        }
        return constants;
    }

    /// Methods whose loss is DPO's.
    private static final Set<String> SHARES_DPO = Set.of("inpo", "tailorpo");

    /// The name of an objective's loss: its own, or the loss's where that is no loss of pairs.
    private static String constant(Objective objective) {
        return objective instanceof Selfnpo ? "PSEUDO_HUBER" : objective.name().toUpperCase(Locale.ROOT);
    }

    /// The losses by name.
    private static Map<String, Integer> kinds() {
        Map<String, Integer> kinds = new LinkedHashMap<>();
        for (Objective objective : objectives()) {
            if (!SHARES_DPO.contains(objective.name())) {
                kinds.put(constant(objective), objective.kind());
            }
        }
        return kinds;
    }

    private static List<Objective> objectives() {
        return Method.all().stream()
                .map(method -> method.with(method.parameters().stream()
                        .mapToDouble(parameter -> parameter.byDefault().orElse(1))
                        .toArray()))
                .toList();
    }

    /// `smpo.h` names the parameters of each loss after its constant, in the order of the record's
    /// native parameters.
    @Test
    void parametersAreInTheHeadersOrder() {
        for (Objective objective : objectives()) {
            if (SHARES_DPO.contains(objective.name())) {
                continue;
            }
            String constant = "SMPO_PAIR_LOSS_" + constant(objective);
            Matcher comment = Pattern.compile(constant + " = \\d+,? +/\\* (?:([a-z_, ]+): )?")
                    .matcher(HEADER);
            assertThat(comment.find()).as(constant).isTrue();
            List<String> names = comment.group(1) == null
                    ? List.of()
                    : List.of(comment.group(1).split(", "));
            Map<String, Double> own = objective.values();
            List<Double> values = names.stream()
                    .map(name -> own.getOrDefault(name, own.get("huber_" + name)))
                    .toList();
            assertThat(values)
                    .as(constant + " " + names)
                    .isEqualTo(Arrays.stream(objective.parameters()).boxed().toList());
        }
    }
}
