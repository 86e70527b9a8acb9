package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The tensors of one adapted module while a LoRA file is read.
final class LoraTensors {
    /// A textual inversion embedding that a trainer stored in the same file.
    private static final Pattern EMBEDDING = Pattern.compile("bundle_emb\\.(?<name>.+?)\\.[^.]+");

    private static final Map<String, String> OTHER_METHODS = new TreeMap<>(Map.of(
            "dora_scale", "a DoRA scale; merge it into its model with PEFT and use that model",
            "lora_magnitude_vector", "a DoRA magnitude; merge it into its model with PEFT and use that model",
            "hada_w", "a LoHa adapter (Hadamard product)",
            "lokr_w", "a LoKr adapter (Kronecker product)",
            "lora_mid", "a Tucker decomposition",
            "oft_", "an OFT adapter (orthogonal)",
            "diff_b", "a full difference of a bias",
            ".diff", "a full difference of the weights"));

    private Weight down;
    private Weight up;
    private Weight alpha;

    /// The part of an adapter that a tensor is.
    enum Part {
        DOWN,
        UP,
        ALPHA
    }

    /// Adds a tensor.
    ///
    /// @throws ModelException when the part is already present
    void add(Object file, Part part, Weight weight) throws ModelException {
        Weight twin = switch (part) {
            case DOWN -> down;
            case UP -> up;
            case ALPHA -> alpha;
        };
        if (twin != null) {
            throw new ModelException(
                    file, weight.name(), "one tensor for this part of a module", "this one and " + twin.name());
        }
        switch (part) {
            case DOWN -> down = weight;
            case UP -> up = weight;
            case ALPHA -> alpha = weight;
        }
    }

    Weight down() {
        return down;
    }

    Weight up() {
        return up;
    }

    /// Checks that both matrices are present.
    void requireComplete(Object file, String module, String downName, String upName) throws ModelException {
        if (down == null || up == null) {
            throw new ModelException(
                    file,
                    module,
                    "both " + downName + " and " + upName,
                    down == null && up == null ? "neither" : "only " + (down == null ? upName : downName));
        }
    }

    /// The stored alpha, of any dtype and shape; empty without one.
    ///
    /// @throws ModelException when it is not one number
    Optional<Double> alpha() throws IOException {
        if (alpha == null) {
            return Optional.empty();
        }
        if (alpha.elements() != 1) {
            throw new ModelException(alpha.origin(), "alpha", "one number", alpha.dtype() + " " + alpha.shape());
        }
        ByteBuffer bytes = alpha.buffer();
        double value = switch (alpha.dtype()) {
            case F16, BF16, F32, F64 -> alpha.toDoubles()[0];
            case I64 -> bytes.getLong(bytes.position());
            case I32 -> bytes.getInt(bytes.position());
            case I16 -> bytes.getShort(bytes.position());
            case I8 -> bytes.get(bytes.position());
            case U8 -> bytes.get(bytes.position()) & 0xff;
            default -> throw new ModelException(alpha.origin(), "alpha", "a number", alpha.dtype());
        };
        return Optional.of(value);
    }

    /// The name of the embedding that a tensor belongs to; empty for other tensors.
    static Optional<String> embedding(String tensor) {
        Matcher matcher = EMBEDDING.matcher(tensor);
        return matcher.matches() ? Optional.of(matcher.group("name")) : Optional.empty();
    }

    /// The refusal of a tensor that is not a LoRA matrix, with the method that it belongs to where that is known.
    static ModelException unexpected(Object file, String tensor, String expected) {
        for (Map.Entry<String, String> method : OTHER_METHODS.entrySet()) {
            if (tensor.contains(method.getKey())) {
                return new ModelException(file, tensor, "plain LoRA (nothing else is supported)", method.getValue());
            }
        }
        return new ModelException(file, tensor, expected, "another tensor");
    }
}
