package org.smpo.cache;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.smpo.io.Digest;

/// Everything that a cached value depends on. Values under equal keys are interchangeable.
///
/// @param kind kind of the value, such as `vae-moments`: lower-case letters, digits and dashes
/// @param model digest of the model that computes the value
/// @param input digest of what it is computed from
/// @param preprocessing how the input is prepared and how the model computes, in words; may be empty
public record CacheKey(String kind, String model, String input, String preprocessing) {
    private static final int MAX_LENGTH = 1 << 16;

    /// Checks the parts.
    ///
    /// @throws IllegalArgumentException when the kind is not a name, a part is too long, or the model or
    ///     input is empty
    public CacheKey {
        if (!kind.matches("[a-z0-9][a-z0-9-]{0,63}")) {
            throw new IllegalArgumentException(
                    "kind: expected at most 64 lower-case letters, digits and dashes, got " + kind);
        }
        if (model.isEmpty() || input.isEmpty()) {
            throw new IllegalArgumentException(
                    kind + ": expected a model and an input, got \"" + model + "\" and \"" + input + "\"");
        }
        for (String part : List.of(model, input, preprocessing)) {
            if (part.length() > MAX_LENGTH) {
                throw new IllegalArgumentException(
                        kind + ": expected parts of at most " + MAX_LENGTH + " characters, got " + part.length());
            }
        }
    }

    /// SHA-256 of the parts, each preceded by its length, so that different keys never give the same bytes.
    public String sha256() {
        Digest digest = new Digest();
        for (String part : List.of(kind, model, input, preprocessing)) {
            byte[] bytes = part.getBytes(StandardCharsets.UTF_8);
            digest.update(
                    ByteBuffer.allocate(Integer.BYTES).putInt(bytes.length).flip());
            digest.update(ByteBuffer.wrap(bytes));
        }
        return digest.hex();
    }
}
