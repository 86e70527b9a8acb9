package org.smpo.io;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/// Settings that an image was generated with, as text for its file.
///
/// @param prompt the prompt
/// @param negativePrompt the negative prompt; empty for none
/// @param seed seed of the noise
/// @param steps number of denoising steps
/// @param sampler name of the sampler
/// @param guidanceScale scale of classifier-free guidance
/// @param width width in pixels
/// @param height height in pixels
/// @param more other settings by name, such as `model`, `precision` or `lora`: text, numbers and booleans
public record ImageSettings(
        String prompt,
        String negativePrompt,
        long seed,
        int steps,
        String sampler,
        double guidanceScale,
        int width,
        int height,
        Map<String, Object> more) {
    /// Copies the other settings.
    public ImageSettings {
        more = Collections.unmodifiableMap(new LinkedHashMap<>(more));
    }

    /// Text by keyword: `parameters` in the format of stable-diffusion-webui, which most tools read, and
    /// `smpo`, a JSON object with all settings.
    public Map<String, String> text() {
        Map<String, String> text = new LinkedHashMap<>();
        text.put("parameters", parameters());
        text.put("smpo", Json.canonical(values()).strip());
        return text;
    }

    /// The settings by name.
    public Map<String, Object> values() {
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("prompt", prompt);
        values.put("negative_prompt", negativePrompt);
        values.put("seed", seed);
        values.put("steps", steps);
        values.put("sampler", sampler);
        values.put("guidance_scale", guidanceScale);
        values.put("width", width);
        values.put("height", height);
        values.putAll(more);
        return values;
    }

    /// The prompt, a line with the negative prompt if there is one, and a line with all other settings.
    private String parameters() {
        StringBuilder out = new StringBuilder(withoutZero(prompt));
        if (!negativePrompt.isEmpty()) {
            out.append("\nNegative prompt: ").append(withoutZero(negativePrompt));
        }
        Map<String, Object> rest = new LinkedHashMap<>();
        rest.put("Steps", steps);
        rest.put("Sampler", sampler);
        rest.put("CFG scale", guidanceScale);
        rest.put("Seed", seed);
        rest.put("Size", width + "x" + height);
        more.forEach((name, value) -> rest.put(label(name), value));
        String separator = "\n";
        for (Map.Entry<String, Object> entry : rest.entrySet()) {
            out.append(separator).append(entry.getKey()).append(": ").append(quoted(plain(entry.getValue())));
            separator = ", ";
        }
        return out.toString();
    }

    /// Converts `model_hash` to `Model hash`.
    private static String label(String name) {
        String words = name.replace('_', ' ');
        return words.isEmpty() ? words : Character.toUpperCase(words.charAt(0)) + words.substring(1);
    }

    /// Converts a value to text; a whole number has no decimal point.
    private static String plain(Object value) {
        boolean whole = value instanceof Double number && number == Math.rint(number) && Math.abs(number) < 1e15;
        return whole ? Long.toString(((Double) value).longValue()) : withoutZero(String.valueOf(value));
    }

    /// Quotes a value where necessary: readers split the line at commas and colons and parse quoted values
    /// as JSON text.
    private static String quoted(String value) {
        boolean safe = value.chars().noneMatch(c -> c == ',' || c == ':' || c == '"' || c < ' ');
        return safe ? value : Json.canonical(value).strip();
    }

    /// Replaces the character 0, which PNG text cannot contain.
    private static String withoutZero(String text) {
        return text.replace('\0', '\ufffd');
    }
}
