package org.smpo.demo;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Digest;

/// What the demo brings along: a small text-to-image model, a small CLIP model as its reward, and the prompts that
/// neither has been trained on. `tools/demo/model.py` made the models.
///
/// The list of files is `SHA256SUMS`, in the form of sha256sum; it is packed beside them.
public final class DemoFiles {
    private static final String LIST = "SHA256SUMS";
    private static final int TWO_OBJECTS = 24;
    private static final int OWN_TWO_OBJECTS = 72;

    private DemoFiles() {}

    /// What the prompts of a category have in common.
    enum Category {
        ONE("one object"),
        SEVERAL("equal objects"),
        TWO("two objects");

        private final String words;

        Category(String words) {
            this.words = words;
        }

        static Category of(Scene scene) {
            return switch (scene) {
                case Scene.One one -> ONE;
                case Scene.Several several -> SEVERAL;
                case Scene.Two two -> TWO;
            };
        }
    }

    /// Unpacks `model/`, a diffusers folder, and `reward/`, a CLIP model in transformers' layout. Files that are
    /// there and whole are left alone.
    ///
    /// @throws IOException when a file cannot be written
    public static void unpack(Path folder) throws IOException {
        for (Map.Entry<String, String> entry : digests().entrySet()) {
            Path target = folder.resolve(entry.getKey());
            if (Files.exists(target)
                    && Digest.sha256(Files.readAllBytes(target)).equals(entry.getValue())) {
                continue;
            }
            Files.createDirectories(target.getParent());
            AtomicFiles.write(target, resource(entry.getKey()));
        }
    }

    /// SHA-256 of what [#unpack] writes: the demo's figures are those of these files.
    public static String digest() {
        return Digest.sha256(resource(LIST));
    }

    /// The prompts in the form of Parti's: a header, then a prompt and its category on each line. All held-out
    /// captions of one and of equal objects, and [#TWO_OBJECTS] of those of two.
    ///
    /// @param every 1: all of these; n: an nth of each category
    public static String prompts(int every) {
        if (every < 1) {
            throw new IllegalArgumentException("every: expected 1 or more, got " + every);
        }
        return prompts(Scene::heldOut, TWO_OBJECTS, every);
    }

    /// Prompts to draw the model's own pictures after, in the same form: none is held out, and there are as many of
    /// two objects as of one and of equal ones together.
    public static String tuningPrompts() {
        return prompts(scene -> !scene.heldOut(), OWN_TWO_OBJECTS, 1);
    }

    private static String prompts(Predicate<Scene> wanted, int twoObjects, int every) {
        Map<Category, List<Scene>> scenes = new TreeMap<>();
        Scene.all().stream()
                .filter(wanted)
                .forEach(scene -> scenes.computeIfAbsent(Category.of(scene), _ -> new ArrayList<>())
                        .add(scene));
        StringBuilder lines = new StringBuilder("Prompt\tCategory\n");
        scenes.forEach((category, all) -> {
            int count = (category == Category.TWO ? twoObjects : all.size()) / every;
            // In the order of their digests: that of the scenes would take those next to each other.
            all.stream()
                    .map(Scene::caption)
                    .sorted(Comparator.comparing(caption -> Digest.sha256(caption.getBytes(StandardCharsets.UTF_8))))
                    .limit(count)
                    .forEach(caption -> lines.append(caption)
                            .append('\t')
                            .append(category.words)
                            .append('\n'));
        });
        return lines.toString();
    }

    private static Map<String, String> digests() {
        Map<String, String> digests = new TreeMap<>();
        new String(resource(LIST), StandardCharsets.UTF_8).lines().forEach(line -> {
            String[] parts = line.split(" [ *]", 2);
            digests.put(parts[1], parts[0]);
        });
        return digests;
    }

    private static byte[] resource(String name) {
        try (InputStream in = DemoFiles.class.getResourceAsStream(name)) {
            if (in == null) {
                throw new IllegalStateException(name + " is not packed with the demo");
            }
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
