package org.smpo.attack;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.TinyModels;
import org.smpo.data.PairRecord;
import org.smpo.data.PairSource;
import org.smpo.data.PreferencePair;
import org.smpo.generate.PromptFile;
import org.smpo.io.Digest;
import org.smpo.io.ImageException;
import org.smpo.io.Images;
import org.smpo.io.ParquetWriter;
import org.smpo.io.Rendering;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;
import org.smpo.io.TorchFile;
import org.smpo.recipe.Recipe;
import org.smpo.report.RunLog;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Damages files of every format at random and gives them to the readers, in one virtual machine: each must be read or
/// refused with a message, within ten seconds.
///
/// Arguments: number of files, seed, folder for findings, format or `all`. The last line has the counts.
public final class Fuzz {
    private static final long PATIENCE_MILLIS = 10_000;
    private static final int FINDINGS = 20;
    private static final int ACCEPTED_IMAGES = 400;

    private final Path folder;
    private final Path findings;
    private final SplittableRandom random;
    private final Map<String, Format> formats = new LinkedHashMap<>();
    private final Map<String, Integer> counts = new TreeMap<>();
    private volatile Thread worker;
    private volatile long began;
    private volatile Path current;
    private int saved;
    private int images;

    private Fuzz(Path folder, Path findings, long seed) {
        this.folder = folder;
        this.findings = findings;
        this.random = new SplittableRandom(seed);
    }

    /// Reads a file.
    @FunctionalInterface
    private interface Reader {
        void read(Path file) throws Exception;
    }

    /// A format: its sound files, and what reads it.
    ///
    /// @param place where the damaged file is written; the rest of its folder is sound
    private record Format(Mutation.Structure structure, Path place, List<byte[]> sound, Reader reader) {}

    /// Runs the attack.
    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createTempDirectory("smpo-fuzz-");
        try {
            Fuzz fuzz = new Fuzz(folder, Path.of(arguments[2]), Long.parseLong(arguments[1]));
            fuzz.prepare();
            System.exit(fuzz.run(Integer.parseInt(arguments[0]), arguments[3]) ? 0 : 1);
        } finally {
            try (Stream<Path> all = Files.walk(folder)) {
                all.sorted(java.util.Comparator.reverseOrder())
                        .forEach(path -> path.toFile().delete());
            }
        }
    }

    private void prepare() throws IOException {
        Map<String, List<byte[]>> encoded = new TreeMap<>();
        try (var in = Images.class.getResourceAsStream("decode/decode.json")) {
            for (JsonNode item : JsonMapper.shared().readTree(in.readAllBytes())) {
                encoded.computeIfAbsent(item.get("name").asString().split(" ", 2)[0], none -> new ArrayList<>())
                        .add(Base64.getDecoder().decode(item.get("file").asString()));
            }
        }
        encoded.forEach((kind, files) -> formats.put(
                kind,
                new Format(
                        kind.equals("png") ? Mutation.Structure.PNG : Mutation.Structure.BYTES,
                        folder.resolve("image." + kind),
                        files,
                        this::image)));
        byte[] png = encoded.get("png").getFirst();
        Path tensors = folder.resolve("a.safetensors");
        String lora = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_";
        SafetensorsWriter.write(
                tensors,
                List.of(
                        new SafetensorsWriter.Declaration(lora + "A.weight", org.smpo.io.DType.F32, List.of(2L, 8L)),
                        new SafetensorsWriter.Declaration(lora + "B.weight", org.smpo.io.DType.F32, List.of(8L, 2L))),
                Map.of("format", "pt"),
                (entry, out) -> out.write(entry.name(), new float[16]));
        byte[] safetensors = Files.readAllBytes(tensors);
        add("safetensors", Mutation.Structure.SAFETENSORS, tensors, List.of(safetensors), Fuzz::tensors);
        add("lora", Mutation.Structure.SAFETENSORS, tensors, List.of(safetensors), file -> {
            try (LoraFile read = LoraFile.open(file)) {
                read.notices();
            }
        });
        add(
                "single file",
                Mutation.Structure.SAFETENSORS,
                tensors,
                List.of(safetensors),
                file -> ModelFiles.open(file).close());
        Path torch = Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/io/torch");
        add(
                "torch",
                Mutation.Structure.BYTES,
                folder.resolve("a.pth"),
                List.of(
                        Files.readAllBytes(torch.resolve("tensors.pth")),
                        Files.readAllBytes(torch.resolve("parameters.pth"))),
                file -> TorchFile.open(file).close());
        Path arrow = torch.resolve("../../data/arrow").normalize();
        add(
                "arrow",
                Mutation.Structure.BYTES,
                folder.resolve("a.arrow"),
                List.of(
                        Files.readAllBytes(arrow.resolve("odd.arrow")),
                        Files.readAllBytes(arrow.resolve("pairs/data-00000-of-00002.arrow"))),
                Fuzz::pairs);
        add("parquet", Mutation.Structure.BYTES, folder.resolve("a.parquet"), List.of(parquet(png)), Fuzz::pairs);
        add("tar", Mutation.Structure.TAR, folder.resolve("a.tar"), List.of(tar(png)), Fuzz::pairs);
        Path list = Files.createDirectory(folder.resolve("list"));
        Files.write(list.resolve("a.png"), png);
        String line =
                "{\"id\": \"p\", \"caption\": \"a cat\", \"image_0\": \"a.png\", \"image_1\": \"a.png\", \"label\": 0,"
                        + " \"score_0\": 1.5, \"score_1\": 2}\n";
        add(
                "jsonl",
                Mutation.Structure.TEXT,
                list.resolve("pairs.jsonl"),
                List.of(line.repeat(3).getBytes(StandardCharsets.UTF_8)),
                file -> pairs(file.getParent()));
        List<byte[]> recipes = Recipe.builtInNames().stream()
                .map(name -> Recipe.builtInText(name).getBytes(StandardCharsets.UTF_8))
                .toList();
        add("recipe", Mutation.Structure.TEXT, folder.resolve("a.yaml"), recipes, file -> Recipe.read(file, List.of()));
        byte[] prompts = "{\"prompt\": \"a cat\", \"seed\": 5, \"category\": \"animals\"}\n[\"a dog\"]\n\"a, b\"\n"
                .getBytes(StandardCharsets.UTF_8);
        add("prompts", Mutation.Structure.TEXT, folder.resolve("a.jsonl"), List.of(prompts), PromptFile::read);
        byte[] log = "{\"event\": \"step\", \"loss\": NaN, \"step\": 1}\n{\"event\": \"x\", \"a\": [1, 2]}\n"
                .getBytes(StandardCharsets.UTF_8);
        add("log", Mutation.Structure.TEXT, folder.resolve("log.jsonl"), List.of(log), RunLog::read);
        Path model = TinyModels.writeRunnable(folder.resolve("model"));
        for (String part : List.of(
                "model_index.json",
                "scheduler/scheduler_config.json",
                "unet/config.json",
                "vae/config.json",
                "text_encoder/config.json")) {
            Path place = model.resolve(part);
            add("model " + part, Mutation.Structure.TEXT, place, List.of(Files.readAllBytes(place)), file -> {
                try (ModelFiles files = ModelFiles.open(model)) {
                    files.schedule();
                    files.notices();
                }
            });
        }
    }

    private void add(String name, Mutation.Structure structure, Path place, List<byte[]> sound, Reader reader) {
        formats.put(name, new Format(structure, place, sound, reader));
    }

    private static byte[] parquet(byte[] png) throws IOException {
        Path file = Files.createTempFile("smpo-fuzz-", ".parquet");
        Files.delete(file);
        ParquetWriter.write(
                file,
                List.of(
                        ParquetWriter.Column.text("caption"),
                        ParquetWriter.Column.bytes("jpg_0"),
                        ParquetWriter.Column.bytes("jpg_1"),
                        ParquetWriter.Column.number("label_0"),
                        ParquetWriter.Column.number("label_1")),
                new TreeMap<>(),
                writer -> {
                    for (int i = 0; i < 3; i++) {
                        writer.add("a cat", png, png, 1.0, 0.0);
                    }
                });
        byte[] bytes = Files.readAllBytes(file);
        Files.delete(file);
        return bytes;
    }

    private static byte[] tar(byte[] png) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (TarArchiveOutputStream tar = new TarArchiveOutputStream(bytes)) {
            Map<String, byte[]> members = new LinkedHashMap<>();
            members.put("0.0.png", png);
            members.put("0.1.png", png);
            members.put("0.json", "{\"caption\": \"a cat\", \"label\": 0}".getBytes(StandardCharsets.UTF_8));
            for (Map.Entry<String, byte[]> member : members.entrySet()) {
                TarArchiveEntry entry = new TarArchiveEntry(member.getKey());
                entry.setSize(member.getValue().length);
                tar.putArchiveEntry(entry);
                tar.write(member.getValue());
                tar.closeArchiveEntry();
            }
        }
        return bytes.toByteArray();
    }

    private static void tensors(Path file) throws IOException {
        try (Safetensors read = Safetensors.open(file)) {
            for (TensorEntry entry : read.entries()) {
                Digest.sha256(read.segment(entry));
            }
        }
    }

    private static void pairs(Path file) throws Exception {
        try (PairSource source = PairSource.open(file)) {
            source.fingerprint();
            for (int i = 0; i < Math.min(source.size(), 4); i++) {
                PairRecord record = source.read(i);
                if (record instanceof PreferencePair pair) {
                    decode(pair);
                }
            }
        }
    }

    /// Decodes an image; one that cannot be read makes a bad pair, which is no failure of the file.
    private static void decode(PreferencePair pair) {
        try {
            pair.image0().decode();
        } catch (ImageException e) {
            return;
        }
    }

    /// Images that are accepted are kept, some hundred of them, for a comparison with another decoder.
    private void image(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        Images.traits("image", bytes);
        Images.decode("image", bytes, 1 << 22, Rendering.VIEWER);
        if (images < ACCEPTED_IMAGES) {
            Path kept = Files.createDirectories(findings.resolve("accepted"));
            Files.write(kept.resolve(images++ + "-" + file.getFileName()), bytes);
        }
    }

    private boolean run(int files, String only) throws IOException {
        List<String> names = formats.keySet().stream()
                .filter(name -> only.equals("all") || name.startsWith(only))
                .toList();
        if (names.isEmpty()) {
            throw new IllegalArgumentException("format: expected one of " + formats.keySet() + " or all, got " + only);
        }
        Thread watchdog = new Thread(this::watch, "watchdog");
        watchdog.setDaemon(true);
        worker = Thread.currentThread();
        watchdog.start();
        Mutation mutation = new Mutation(random);
        long start = System.nanoTime();
        for (int i = 0; i < files; i++) {
            String name = names.get(i % names.size());
            Format format = formats.get(name);
            byte[] sound = format.sound.get(random.nextInt(format.sound.size()));
            byte[] other = format.sound.get(random.nextInt(format.sound.size()));
            byte[] damaged = mutation.damage(sound, other, format.structure);
            Files.write(format.place, damaged);
            current = format.place;
            began = System.currentTimeMillis();
            String outcome = outcome(name, format, damaged);
            if (System.currentTimeMillis() - began > PATIENCE_MILLIS) {
                outcome = keep(name, "slow", damaged, null);
            }
            began = 0;
            counts.merge(outcome, 1, Integer::sum);
            Files.write(format.place, sound);
        }
        int wrong =
                counts.getOrDefault("untyped", 0) + counts.getOrDefault("slow", 0) + counts.getOrDefault("memory", 0);
        System.out.println("fuzz: " + files + " files of " + names.size() + " formats in "
                + (System.nanoTime() - start) / 1_000_000_000 + " s: " + counts.getOrDefault("read", 0) + " read, "
                + counts.getOrDefault("refused", 0) + " refused, " + counts.getOrDefault("untyped", 0) + " untyped, "
                + counts.getOrDefault("memory", 0) + " out of memory, " + counts.getOrDefault("slow", 0)
                + " slower than 10 s");
        return wrong == 0;
    }

    private String outcome(String name, Format format, byte[] damaged) throws IOException {
        try {
            format.reader.read(format.place);
            return "read";
        } catch (OutOfMemoryError e) {
            return keep(name, "memory", damaged, e);
        } catch (Throwable e) {
            boolean typed = e instanceof IOException
                    || e.getClass().getName().startsWith("org.smpo.")
                    || (e instanceof IllegalArgumentException && e.getMessage() != null);
            return typed && e.getMessage() != null ? "refused" : keep(name, "untyped", damaged, e);
        }
    }

    private String keep(String name, String kind, byte[] damaged, Throwable e) throws IOException {
        if (saved++ < FINDINGS) {
            Path file =
                    Files.createDirectories(findings).resolve(name.replaceAll("[ /]", "-") + "-" + kind + "-" + saved);
            Files.write(file, damaged);
            System.err.println(name + ": " + kind + ": " + file + (e == null ? "" : ": " + e));
            if (e != null) {
                for (StackTraceElement frame : e.getStackTrace()) {
                    if (frame.getClassName().startsWith("org.smpo.")) {
                        System.err.println("    at " + frame);
                        break;
                    }
                }
            }
        }
        return kind;
    }

    /// Ends the process when a file takes six times as long as it may: nothing can stop a thread that computes.
    private void watch() {
        while (true) {
            try {
                Thread.sleep(1000);
            } catch (InterruptedException e) {
                return;
            }
            long since = began;
            if (since > 0 && System.currentTimeMillis() - since > 6 * PATIENCE_MILLIS) {
                try {
                    System.err.println("hangs: " + keep("hang", "slow", Files.readAllBytes(current), null));
                } catch (IOException e) {
                    System.err.println("hangs: " + e);
                }
                for (StackTraceElement frame : worker.getStackTrace()) {
                    System.err.println("    at " + frame);
                }
                Runtime.getRuntime().halt(3);
            }
        }
    }
}
