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

/// Files packaged with the demo: a small text-to-image model, a small CLIP model as its reward, and prompts
/// that neither was trained on. `tools/demo/model.py` made the models.
///
/// `SHA256SUMS` lists the files in the format of sha256sum.
public final class DemoFiles {
    /// Name of the file of the evaluation prompts.
    public static final String PROMPTS = "prompts.tsv";

    /// Name of the file of the prompts for the model's own images.
    public static final String OWN_PROMPTS = "own-prompts.tsv";

    private static final String LIST = "SHA256SUMS";
    private static final int TWO_OBJECTS = 24;
    private static final int OWN_TWO_OBJECTS = 72;

    private DemoFiles() {}

    /// Categories of the prompts.
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

    /// Unpacks `model/`, a diffusers folder, and `reward/`, a CLIP model in the transformers format. Files
    /// that exist and are intact are not written again.
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

    /// Unpacks the models as [#unpack(Path)] does and writes the prompts. Those for the model's own images
    /// come last, so a folder that has them is complete.
    ///
    /// @param every 1: all evaluation prompts; n: every n-th prompt of each category
    /// @throws IOException when a file cannot be written
    public static void unpack(Path folder, int every) throws IOException {
        unpack(folder);
        AtomicFiles.write(folder.resolve(PROMPTS), prompts(every));
        AtomicFiles.write(folder.resolve(OWN_PROMPTS), tuningPrompts());
    }

    /// Returns the SHA-256 of what [#unpack] writes, which the demo's results belong to.
    public static String digest() {
        return Digest.sha256(resource(LIST));
    }

    /// Returns the evaluation prompts in the format of PartiPrompts: a header, then one prompt and category
    /// per line. They are all held-out captions of one object and of equal objects, and [#TWO_OBJECTS]
    /// captions of two.
    ///
    /// @param every 1: all prompts; n: every n-th prompt of each category
    public static String prompts(int every) {
        if (every < 1) {
            throw new IllegalArgumentException("every: expected 1 or more, got " + every);
        }
        return prompts(Scene::heldOut, TWO_OBJECTS, every);
    }

    /// Returns prompts for generating the model's own images, in the same format. None is held out, and
    /// half of them have two objects.
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
            // Sorted by digest, since neighbouring scenes are alike.
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
                throw new IllegalStateException(name + " is not packaged with the demo");
            }
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
