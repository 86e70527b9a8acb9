package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.smpo.io.DType;
import org.smpo.io.SafetensorsWriter;

/// The UNet of a model with the changes that other models made to it: `θ + Σ w_k (θ_k − θ)`, in float64 with one
/// rounding at the end. Other components do not enter.
public final class WeightSum {
    private static final int CHUNK = 1 << 18;

    private WeightSum() {}

    /// A model and the factor of its difference from the base.
    ///
    /// @param model open files of a whole model, or of a UNet alone
    /// @param weight Factor of the difference; 1 alone gives the model itself
    public record Term(ModelFiles model, double weight) {
        /// @throws IllegalArgumentException when the weight is not finite
        public Term {
            if (!Double.isFinite(weight)) {
                throw new IllegalArgumentException(model.path() + ": expected a finite weight, got " + weight);
            }
        }
    }

    /// Writes the sum as a safetensors file under the names of the parameters, whole or not at all.
    /// Memory is needed for a chunk of a tensor, whatever its size.
    ///
    /// @param base open files of the base
    /// @param dtype Dtype to write; null keeps that of each tensor of the base
    /// @throws ModelException naming a tensor that another model lacks, has in another shape or has
    ///     beside the base's, and an element that is not finite or leaves the range of the dtype
    public static void write(ModelFiles base, List<Term> terms, DType dtype, Path target) throws IOException {
        Component unet = base.unetOrOnly();
        for (Term term : terms) {
            requireSameShapes(unet, term.model());
        }
        List<SafetensorsWriter.Declaration> declarations = new ArrayList<>();
        unet.weights().values().forEach(weight -> declarations.add(weight.declaration(dtype)));
        SafetensorsWriter.write(target, declarations, Map.of("format", "pt"), (entry, out) -> {
            Weight weight = unet.weights().get(entry.name());
            List<Weight> others = new ArrayList<>();
            for (Term term : terms) {
                others.add(term.model().unetOrOnly().weights().get(entry.name()));
            }
            for (long from = 0; from < weight.elements(); from += CHUNK) {
                int count = (int) Math.min(CHUNK, weight.elements() - from);
                double[] sum = sum(weight, others, terms, from, count);
                out.write(entry.name(), rounded(weight, sum, from, weight.storedAs(dtype)));
            }
        });
    }

    private static void requireSameShapes(Component base, ModelFiles model) throws ModelException {
        Component other = model.unetOrOnly();
        for (Weight weight : base.weights().values()) {
            Weight twin = other.weights().get(weight.name());
            if (twin == null || !twin.shape().equals(weight.shape())) {
                throw new ModelException(
                        model.path(),
                        other.name() + ": " + weight.name(),
                        weight.shape() + " as the base has it",
                        twin == null ? "no such tensor" : twin.shape());
            }
        }
        for (String name : other.weights().keySet()) {
            if (!base.weights().containsKey(name)) {
                throw new ModelException(
                        model.path(), other.name() + ": " + name, "only tensors that the base has", "this one too");
            }
        }
    }

    private static double[] sum(Weight base, List<Weight> others, List<Term> terms, long from, int count)
            throws IOException {
        double[] start = base.toDoubles(from, count);
        double[] sum = start.clone();
        for (int k = 0; k < others.size(); k++) {
            double[] changed = others.get(k).toDoubles(from, count);
            double weight = terms.get(k).weight();
            for (int i = 0; i < count; i++) {
                sum[i] += weight * (changed[i] - start[i]);
            }
        }
        return sum;
    }

    private static ByteBuffer rounded(Weight weight, double[] values, long from, DType dtype) throws ModelException {
        ByteBuffer wide = ByteBuffer.allocate(Double.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        wide.asDoubleBuffer().put(values);
        ByteBuffer narrow =
                ByteBuffer.allocate(dtype.bits() / 8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        int lost = Floats.convert(DType.F64, wide, dtype, narrow, values.length);
        if (lost >= 0) {
            throw new ModelException(
                    weight.origin(),
                    "element " + (from + lost) + " of the sum",
                    "a value that " + dtype + " can hold",
                    values[lost] + "; choose another dtype or smaller weights");
        }
        return narrow;
    }
}
