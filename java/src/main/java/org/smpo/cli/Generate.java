package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelFolder;
import org.smpo.checkpoint.SingleFile;
import org.smpo.generate.GeneratedImage;
import org.smpo.generate.ImageRequest;
import org.smpo.generate.PromptFile;
import org.smpo.generate.SamplerName;
import org.smpo.generate.TextToImage;
import org.smpo.io.ByteView;
import org.smpo.io.ContactSheet;
import org.smpo.io.DType;
import org.smpo.io.ImageSettings;
import org.smpo.io.Png;
import org.smpo.io.Precision;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;
import org.smpo.network.Prompt;
import org.smpo.report.Progress;
import org.smpo.schedule.PredictionType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo generate`: makes pictures of prompts.
@Command(
        name = "generate",
        description = "Make pictures of prompts.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:written", "1:it failed", "2:wrong usage"})
final class Generate implements Callable<Integer> {
    private static final String LATENTS = "latents";
    private static final int SHEET_COLUMNS = 4;
    private static final int SHEET_CELL = 512;

    @Spec
    private CommandSpec spec;

    @Parameters(index = "0", paramLabel = "MODEL", description = "A diffusers folder or a checkpoint.")
    private Path model;

    @Option(names = "--prompt", paramLabel = "TEXT", description = "What to draw; may be given several times.")
    private List<String> prompts = List.of();

    @Option(
            names = "--prompt-file",
            paramLabel = "FILE",
            description =
                    "A prompt on each line, .jsonl with prompt, negative_prompt and seed, or .tsv with a column Prompt.")
    private Path promptFile;

    @Option(names = "--negative-prompt", paramLabel = "TEXT", description = "What not to draw.")
    private String negativePrompt;

    @Option(
            names = "--seed",
            paramLabel = "N",
            split = ",",
            description = "One or several: a picture of each prompt for each (default: 0).")
    private List<Long> seeds = List.of(0L);

    @Option(names = "--height", paramLabel = "H", description = "In pixels. Default: the model's own.")
    private Integer height;

    @Option(names = "--width", paramLabel = "W", description = "In pixels. Default: the model's own.")
    private Integer width;

    @Option(names = "--steps", paramLabel = "N", defaultValue = "20", description = "Default: ${DEFAULT-VALUE}.")
    private int steps;

    @Option(names = "--guidance-scale", paramLabel = "X", defaultValue = "7.5", description = "Default: 7.5. 1: none.")
    private double guidanceScale;

    @Option(names = "--guidance-rescale", paramLabel = "X", defaultValue = "0", description = "0 to 1. Default: 0.")
    private double guidanceRescale;

    @Option(names = "--clip-skip", paramLabel = "N", defaultValue = "0", description = "Further layers to leave out.")
    private int clipSkip;

    @Option(
            names = "--sampler",
            paramLabel = "NAME",
            defaultValue = "ddim",
            description = "ddim, euler, dpmpp_2m or pndm. Default: ${DEFAULT-VALUE}.")
    private String sampler;

    @Option(names = "--batch", paramLabel = "N", defaultValue = "1", description = "Pictures at once. Default: 1.")
    private int batch;

    @Option(names = "--device", paramLabel = "NAME", defaultValue = "cpu", description = "cpu, cuda or cuda:N.")
    private String device;

    @Option(names = "--precision", paramLabel = "TYPE", defaultValue = "fp32", description = "fp32 or bf16.")
    private String precision;

    @Option(names = "--threads", paramLabel = "N", defaultValue = "0", description = "0: one per physical core.")
    private int threads;

    @Option(names = "--lora", paramLabel = "FILE", description = "Adapters; may be given several times.")
    private List<Path> loras = List.of();

    @Option(names = "--lora-weight", paramLabel = "X", description = "One for each --lora. Default: 1.")
    private List<Double> loraWeights = List.of();

    @Option(
            names = "--initial-latents",
            paramLabel = "FILE",
            description = "Safetensors with latents [N,4,h,w], standard normal: one for each picture, or one for all.")
    private Path initialLatents;

    @Option(names = "--save-latents", paramLabel = "FILE", description = "Where the final latents go, [N,4,h,w].")
    private Path saveLatents;

    @Option(
            names = "--vae-tile",
            paramLabel = "PIXELS",
            defaultValue = "0",
            description = "Decode large pictures in overlapping tiles of this side, for less memory. 0: at once.")
    private int vaeTile;

    @Option(
            names = "--config",
            paramLabel = "FOLDER",
            description = "For a checkpoint: the diffusers folder that has its tokenizers, configs and scheduler.")
    private Path config;

    @Option(
            names = "--prediction-type",
            paramLabel = "TYPE",
            description =
                    "For a checkpoint that does not say: epsilon or v_prediction. Default for SD 2: v_prediction.")
    private String predictionType;

    @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder for the pictures.")
    private Path out;

    Generate() {}

    @Override
    public Integer call() throws IOException {
        SamplerName rule = Arrays.stream(SamplerName.values())
                .filter(known -> known.id().equals(sampler))
                .findFirst()
                .orElseThrow(() -> usage("--sampler: expected "
                        + Arrays.stream(SamplerName.values())
                                .map(SamplerName::id)
                                .collect(Collectors.joining(", "))
                        + ", got " + sampler));
        Precision type = switch (precision) {
            case "fp32" -> Precision.FP32;
            case "bf16" -> Precision.BF16;
            default -> throw usage("--precision: expected fp32 or bf16, got " + precision);
        };
        if (!device.matches("cpu|cuda(:\\d{1,4})?")) {
            throw usage("--device: expected cpu, cuda or cuda:N, got " + device);
        }
        if (batch < 1) {
            throw usage("--batch: expected 1 or more, got " + batch);
        }
        if (!loraWeights.isEmpty() && loraWeights.size() != loras.size()) {
            throw usage(
                    "--lora-weight: expected one for each --lora (" + loras.size() + "), got " + loraWeights.size());
        }
        if (!Files.exists(model)) {
            throw usage("MODEL: " + model + ": expected a folder or a file, found nothing");
        }
        List<Prompt> pictures = pictures();
        try (ModelFiles files = files()) {
            List<ImageRequest> requests = requests(files, pictures, rule);
            Files.createDirectories(out);
            try (TextToImage generator = TextToImage.open(files, device, type, threads)) {
                merge(generator);
                warnOfCuts(generator, pictures);
                generate(generator, requests);
            }
        }
        return 0;
    }

    private void merge(TextToImage generator) throws IOException {
        for (int i = 0; i < loras.size(); i++) {
            try (LoraFile lora = LoraFile.open(loras.get(i))) {
                generator.merge(lora.lora(), loraWeights.isEmpty() ? 1 : loraWeights.get(i));
            }
        }
    }

    private ModelFiles files() throws IOException {
        PredictionType prediction = switch (predictionType) {
            case null -> null;
            case "epsilon" -> PredictionType.EPSILON;
            case "v_prediction" -> PredictionType.V_PREDICTION;
            default -> throw usage("--prediction-type: expected epsilon or v_prediction, got " + predictionType);
        };
        if (!Files.isDirectory(model)) {
            return SingleFile.open(model, new SingleFile.Options(config, prediction));
        }
        if (config != null || prediction != null) {
            throw usage("--config and --prediction-type: a diffusers folder has its own");
        }
        return ModelFolder.open(model);
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    private static String negative(Prompt prompt) {
        return prompt.negative() == null ? "" : prompt.negative();
    }

    /// Each prompt with each seed; one that brings its own seed gets that alone.
    private List<Prompt> pictures() throws IOException {
        List<Prompt> all = new ArrayList<>();
        prompts.forEach(text -> all.add(Prompt.of(text)));
        if (promptFile != null) {
            all.addAll(PromptFile.read(promptFile));
        }
        if (all.isEmpty()) {
            throw usage("expected --prompt or --prompt-file");
        }
        List<Prompt> pictures = new ArrayList<>();
        for (Prompt prompt : all) {
            String negative = prompt.negative() == null ? negativePrompt : prompt.negative();
            List<Long> own = prompt.seed().isPresent() ? List.of(prompt.seed().getAsLong()) : seeds;
            own.forEach(seed -> pictures.add(new Prompt(prompt.text(), negative, OptionalLong.of(seed))));
        }
        return pictures;
    }

    private void warnOfCuts(TextToImage generator, List<Prompt> pictures) {
        PrintWriter err = spec.commandLine().getErr();
        pictures.stream()
                .flatMap(prompt -> Stream.of(prompt.text(), negative(prompt)))
                .distinct()
                .forEach(text -> generator
                        .cut(text)
                        .forEach((encoder, cut) ->
                                err.println("smpo: " + encoder + ": the prompt is too long; cut off: " + cut)));
        err.flush();
    }

    /// What is asked for, batch by batch; everything that does not need the weights is checked before they are read.
    private List<ImageRequest> requests(ModelFiles files, List<Prompt> pictures, SamplerName rule) throws IOException {
        int latent = files.vae().scale();
        int side = files.unet().sampleSize() == 0 ? 512 : files.unet().sampleSize() * latent;
        int tall = side("--height", height, side, latent);
        int wide = side("--width", width, side, latent);
        if (vaeTile < 0 || vaeTile % (4 * latent) != 0) {
            throw usage("--vae-tile: expected 0 or a multiple of " + 4 * latent + ", got " + vaeTile);
        }
        List<float[]> given = initial(pictures.size());
        List<ImageRequest> requests = new ArrayList<>();
        for (int from = 0; from < pictures.size(); from += batch) {
            int to = Math.min(from + batch, pictures.size());
            try {
                requests.add(new ImageRequest(
                        pictures.subList(from, to),
                        tall,
                        wide,
                        steps,
                        rule,
                        guidanceScale,
                        guidanceRescale,
                        clipSkip,
                        given.isEmpty() ? List.of() : given.subList(from, to),
                        vaeTile));
            } catch (IllegalArgumentException e) {
                throw new ParameterException(spec.commandLine(), e.getMessage(), e);
            }
        }
        return requests;
    }

    private int side(String option, Integer given, int own, int latent) {
        int side = given == null ? own : given;
        if (side < latent || side % latent != 0) {
            throw usage(option + ": expected a multiple of " + latent + ", got " + side);
        }
        return side;
    }

    private void generate(TextToImage generator, List<ImageRequest> requests) throws IOException {
        int all =
                requests.stream().mapToInt(request -> request.prompts().size()).sum();
        List<ContactSheet.Cell> cells = new ArrayList<>();
        List<float[]> finals = new ArrayList<>();
        Progress.Display display =
                Progress.Display.ofStandardError(spec.commandLine().getErr());
        for (ImageRequest request : requests) {
            int from = cells.size();
            int to = from + request.prompts().size();
            String which = (from + 1) + (to > from + 1 ? "-" + to : "") + " of " + all;
            List<GeneratedImage> images;
            try (Progress progress = new Progress(display, "picture " + which, "step", 0, 0)) {
                images = generator.generate(request, (done, of) -> {
                    progress.total(of);
                    progress.to(done);
                });
            }
            for (int i = 0; i < images.size(); i++) {
                Prompt prompt = request.prompts().get(i);
                long seed = prompt.seed().getAsLong();
                GeneratedImage image = images.get(i);
                Path file = out.resolve(String.format(Locale.ROOT, "%05d-%d.png", from + i, seed));
                new Png(image.image(), settings(prompt, seed, request).text()).write(file);
                spec.commandLine().getOut().println(file);
                cells.add(new ContactSheet.Cell(image.image(), prompt.text() + " (" + seed + ")"));
                finals.add(image.latents());
            }
        }
        if (cells.size() > 1) {
            Path sheet = out.resolve("sheet.png");
            new Png(ContactSheet.draw(cells, SHEET_COLUMNS, SHEET_CELL), Map.of()).write(sheet);
            spec.commandLine().getOut().println(sheet);
        }
        if (saveLatents != null) {
            int latent = generator.downscale();
            save(
                    finals,
                    requests.getFirst().height() / latent,
                    requests.getFirst().width() / latent);
        }
    }

    private ImageSettings settings(Prompt prompt, long seed, ImageRequest request) {
        Map<String, Object> more = new LinkedHashMap<>();
        Path name = model.toAbsolutePath().normalize().getFileName();
        more.put("model", name == null ? model.toString() : name.toString());
        more.put("precision", precision);
        if (guidanceRescale != 0) {
            more.put("guidance_rescale", guidanceRescale);
        }
        if (clipSkip != 0) {
            more.put("clip_skip", (long) clipSkip);
        }
        if (vaeTile != 0) {
            more.put("vae_tile", (long) vaeTile);
        }
        for (int i = 0; i < loras.size(); i++) {
            Path file = loras.get(i).getFileName();
            more.put("lora_" + (i + 1), file + ":" + (loraWeights.isEmpty() ? 1.0 : loraWeights.get(i)));
        }
        return new ImageSettings(
                prompt.text(),
                negative(prompt),
                seed,
                steps,
                sampler,
                guidanceScale,
                request.width(),
                request.height(),
                more);
    }

    /// One per picture; empty without the option.
    private List<float[]> initial(int pictures) throws IOException {
        if (initialLatents == null) {
            return List.of();
        }
        try (Safetensors file = Safetensors.open(initialLatents)) {
            TensorEntry entry = file.entry(LATENTS);
            List<Long> shape = entry.shape();
            if (entry.dtype() != DType.F32 || shape.size() != 4 || (shape.get(0) != 1 && shape.get(0) != pictures)) {
                throw new IOException(initialLatents + ": " + LATENTS + ": expected F32 [1 or " + pictures
                        + ", 4, h, w], got " + entry.dtype() + " " + shape);
            }
            ByteBuffer bytes = ByteView.of(file, entry).buffer();
            int row = Math.toIntExact(entry.length() / Float.BYTES / shape.get(0));
            List<float[]> all = new ArrayList<>();
            for (int i = 0; i < pictures; i++) {
                float[] values = new float[row];
                bytes.asFloatBuffer().get(shape.get(0) == 1 ? 0 : i * row, values);
                for (float value : values) {
                    if (!Float.isFinite(value)) {
                        throw new IOException(
                                initialLatents + ": " + LATENTS + ": expected finite numbers, got " + value);
                    }
                }
                all.add(values);
            }
            return all;
        }
    }

    private void save(List<float[]> finals, long h, long w) throws IOException {
        long channels = finals.getFirst().length / (h * w);
        SafetensorsWriter.Declaration declaration =
                new SafetensorsWriter.Declaration(LATENTS, DType.F32, List.of((long) finals.size(), channels, h, w));
        SafetensorsWriter.write(saveLatents, List.of(declaration), Map.of(), (entry, writer) -> {
            for (float[] latents : finals) {
                writer.write(LATENTS, latents);
            }
        });
    }
}
