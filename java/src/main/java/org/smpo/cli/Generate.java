package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.generate.GeneratedImage;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.ImageRequest;
import org.smpo.generate.LatentsFile;
import org.smpo.generate.NegativeCondition;
import org.smpo.generate.PromptFile;
import org.smpo.generate.TextToImage;
import org.smpo.io.AtomicFiles;
import org.smpo.io.ContactSheet;
import org.smpo.io.Digest;
import org.smpo.io.ImageSettings;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.parallel.Frames;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.report.Progress;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo generate`: generates images from prompts.
@Command(
        name = "generate",
        description = "Generate images from prompts.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:images written", "1:failure", "2:wrong usage"})
final class Generate implements Callable<Integer> {
    private static final int SHEET_COLUMNS = 4;
    private static final int SHEET_CELL = 512;

    /// Images on the sheet. Further ones would need memory for each.
    private static final int SHEET_IMAGES = 64;

    @Spec
    private CommandSpec spec;

    @Parameters(index = "0", paramLabel = "MODEL", description = OptionTexts.MODEL)
    private Path model;

    /// The files of the model: those that the argument names, or those of a run.
    private EvaluatedModel source;

    @Option(names = "--prompt", paramLabel = "TEXT", description = "Prompt to generate an image from; repeatable")
    private List<String> prompts = List.of();

    @Option(names = "--prompt-file", paramLabel = "FILE", description = OptionTexts.PROMPT_FILE)
    private Path promptFile;

    @Option(
            names = "--seed",
            paramLabel = "N",
            split = ",",
            description = "One or more seeds; every prompt is generated once per seed (default: 0)")
    private List<Long> seeds = List.of(0L);

    @Mixin
    private GenerationOptions generation;

    @Mixin
    private ComputeOptions compute;

    @Option(names = "--lora", paramLabel = "FILE", description = "LoRA file to merge into the model; repeatable")
    private List<Path> loras = List.of();

    @Option(
            names = "--lora-weight",
            paramLabel = "X",
            description = "Weight of the LoRA file at the same position (default: 1 for each)")
    private List<Double> loraWeights = List.of();

    @Option(
            names = "--negative-model",
            paramLabel = "PATH[+LORA[:WEIGHT]]",
            description = "Network for the negative side of guidance: the UNet of a diffusers folder, a single-file"
                    + " checkpoint or a run folder, optionally with LoRA files (default: the model itself)")
    private String negativeModel;

    @Option(
            names = "--negative-lora",
            paramLabel = "FILE[:WEIGHT]",
            description = "LoRA file that makes the model, with its --lora files, the network for the negative side of"
                    + " guidance; repeatable (default weight: 1)")
    private List<String> negativeLoras = List.of();

    @Option(
            names = "--initial-latents",
            paramLabel = "FILE",
            description =
                    "Safetensors file with standard normal initial latents [N,4,h,w]: one per image, or one for all")
    private Path initialLatents;

    @Option(
            names = "--save-latents",
            paramLabel = "FILE",
            description = "Safetensors file to write the final latents to, [N,4,h,w]")
    private Path saveLatents;

    @Mixin
    private CheckpointOptions checkpoint;

    @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder for the images")
    private Path out;

    @Mixin
    private WorldOptions processes;

    private EvaluatedModel.Negative negative;

    Generate() {}

    @Override
    public Integer call() throws IOException {
        if (!loraWeights.isEmpty() && loraWeights.size() != loras.size()) {
            throw usage(
                    "--lora-weight: expected one for each --lora (" + loras.size() + "), got " + loraWeights.size());
        }
        boolean used = negativeModel != null
                || !negativeLoras.isEmpty()
                || ModelArgument.haveNegative(List.of(model.toString()));
        NegativeCondition condition = generation.negativeCondition(used);
        try {
            source = ModelArgument.parse(
                    model.toString(), checkpoint.options(), condition, warning -> Notices.print(spec, warning));
        } catch (IllegalArgumentException e) {
            throw usage(e.getMessage());
        }
        List<Prompt> images = images();
        GenerationConfig config = generation.config();
        negative = used ? negative(condition, config, images) : null;
        loras.forEach(file -> ModelArgument.warnOfNegative(file, warning -> Notices.print(spec, warning)));
        try (Peers peers = processes.open()) {
            peers.together(() -> {
                generate(peers, images, config);
                return 0;
            });
        }
        return 0;
    }

    private void generate(Peers peers, List<Prompt> images, GenerationConfig config) throws IOException {
        World world = peers.world();
        try (ModelFiles files = files()) {
            if (world.isFirst()) {
                Notices.print(spec, model, files.notices());
            }
            List<ImageRequest> requests = requests(files, images, config);
            if (negative != null) {
                negative.requireFits(files);
            }
            if (world.size() > 1) {
                peers.requireSame(shared(requests));
            }
            Files.createDirectories(out);
            try (InterruptNotice _ = new InterruptNotice(
                            spec, "finished images are in " + out + "; run the same command again to make them all");
                    TextToImage generator = TextToImage.open(
                            files, compute.device(world), compute.precision(), world.threads(compute.threads()))) {
                merge(generator);
                if (negative != null) {
                    negative.load(generator, files, compute.precision());
                }
                if (world.isFirst()) {
                    warnOfCuts(generator, images);
                }
                generate(peers, generator, requests);
            }
        }
    }

    /// Everything that decides the images.
    private Map<String, String> shared(List<ImageRequest> requests) throws IOException {
        Map<String, String> all = new LinkedHashMap<>();
        EvaluatedModel whole = new EvaluatedModel(
                "model", source.path(), source.options(), adapters(), Optional.empty(), Optional.ofNullable(negative));
        all.put("model", whole.digest());
        all.put(
                "prompts",
                requests.stream()
                        .flatMap(request -> request.prompts().stream())
                        .map(Prompt::toString)
                        .collect(Collectors.joining("\n")));
        all.put("settings", requests.getFirst().config().toString());
        all.put("--batch", Integer.toString(generation.batch()));
        all.put("--precision", compute.precision().id());
        all.put("--initial-latents", initialLatents == null ? "none" : Digest.sha256(initialLatents));
        all.put("--save-latents", saveLatents == null ? "not given" : "given");
        return all;
    }

    /// The negative network of the model's argument or of the options.
    private EvaluatedModel.Negative negative(NegativeCondition condition, GenerationConfig config, List<Prompt> images)
            throws IOException {
        if (negativeModel != null && !negativeLoras.isEmpty()) {
            throw usage("--negative-lora: expected no --negative-model beside it; add the file to the model, as in"
                    + " --negative-model PATH+LORA");
        }
        boolean options = negativeModel != null || !negativeLoras.isEmpty();
        if (options && source.negative().isPresent()) {
            throw usage("MODEL: expected no ~NEGATIVE beside --negative-model and --negative-lora, got "
                    + source.negative().get().name());
        }
        try {
            config.requireGuidance();
            condition.requireFits(images);
        } catch (IllegalArgumentException e) {
            throw usage(GenerationOptions.named(e.getMessage()));
        }
        if (!options) {
            return source.negative().orElseThrow();
        }
        EvaluatedModel itself = new EvaluatedModel(
                "model", source.path(), source.options(), adapters(), Optional.empty(), Optional.empty());
        try {
            return negativeModel == null
                    ? ModelArgument.adapted(negativeLoras, itself, condition)
                    : ModelArgument.negative(negativeModel, itself, checkpoint.options(), condition);
        } catch (IllegalArgumentException e) {
            String option = negativeModel == null ? "--negative-lora" : "--negative-model";
            throw usage(e.getMessage().replaceFirst("^MODEL", option));
        }
    }

    private void merge(TextToImage generator) throws IOException {
        for (EvaluatedModel.Adapter adapter : adapters()) {
            try (LoraFile lora = LoraFile.open(adapter.file())) {
                Notices.print(spec, lora.path(), lora.notices());
                generator.merge(lora.lora(), adapter.weight());
            }
        }
    }

    /// Those of the model's argument, then those of the options.
    private List<EvaluatedModel.Adapter> adapters() {
        List<EvaluatedModel.Adapter> all = new ArrayList<>(source.loras());
        for (int i = 0; i < loras.size(); i++) {
            all.add(new EvaluatedModel.Adapter(loras.get(i), loraWeights.isEmpty() ? 1 : loraWeights.get(i)));
        }
        return all;
    }

    private ModelFiles files() throws IOException {
        if (Files.isDirectory(source.path())) {
            checkpoint.requireNone();
        }
        return ModelFiles.open(source.path(), source.options());
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    private static String negative(Prompt prompt) {
        return prompt.negative() == null ? "" : prompt.negative();
    }

    /// Returns every prompt once per seed. A prompt that has a seed of its own is generated with that one only.
    private List<Prompt> images() throws IOException {
        List<Prompt> all = new ArrayList<>();
        prompts.forEach(text -> all.add(Prompt.of(text)));
        if (promptFile != null) {
            all.addAll(PromptFile.read(promptFile));
        }
        if (all.isEmpty()) {
            throw usage("expected --prompt or --prompt-file");
        }
        List<Prompt> images = new ArrayList<>();
        for (Prompt prompt : all) {
            String negative = prompt.negative() == null ? generation.negativePrompt() : prompt.negative();
            List<Long> own = prompt.seed().isPresent() ? List.of(prompt.seed().getAsLong()) : seeds;
            own.forEach(seed -> images.add(new Prompt(prompt.text(), negative, OptionalLong.of(seed))));
        }
        return images;
    }

    private void warnOfCuts(TextToImage generator, List<Prompt> images) {
        PrintWriter err = spec.commandLine().getErr();
        images.stream()
                .flatMap(prompt -> Stream.of(prompt.text(), negative(prompt)))
                .distinct()
                .forEach(text -> generator
                        .cut(text)
                        .forEach((encoder, cut) ->
                                err.println("smpo: " + encoder + ": the prompt is too long; cut off: " + cut)));
        err.flush();
    }

    /// Returns the requests, one per batch. Everything that does not need the weights is checked before they are read.
    private List<ImageRequest> requests(ModelFiles files, List<Prompt> images, GenerationConfig config)
            throws IOException {
        int batch = generation.batch();
        List<float[]> given = initialLatents == null ? List.of() : LatentsFile.read(initialLatents, images.size());
        try {
            GenerationConfig sized = config.sizedFor(files);
            List<ImageRequest> requests = new ArrayList<>();
            for (int from = 0; from < images.size(); from += batch) {
                int to = Math.min(from + batch, images.size());
                requests.add(new ImageRequest(
                        images.subList(from, to), sized, given.isEmpty() ? List.of() : given.subList(from, to)));
            }
            return requests;
        } catch (IllegalArgumentException e) {
            throw usage(GenerationOptions.named(e.getMessage()));
        }
    }

    private void generate(Peers peers, TextToImage generator, List<ImageRequest> requests) throws IOException {
        int all =
                requests.stream().mapToInt(request -> request.prompts().size()).sum();
        if (saveLatents == null || !peers.world().isFirst()) {
            generate(peers, generator, requests, all, null);
            return;
        }
        GenerationConfig config = requests.getFirst().config();
        int latent = generator.downscale();
        try (LatentsFile.Writer latents =
                LatentsFile.create(saveLatents, all, config.height() / latent, config.width() / latent)) {
            generate(peers, generator, requests, all, latents);
        }
    }

    /// @param latents file of the sampler's last latents; null when they are not asked for, and on all
    ///     ranks but 0
    private void generate(
            Peers peers, TextToImage generator, List<ImageRequest> requests, int all, LatentsFile.Writer latents)
            throws IOException {
        List<ContactSheet.Cell> cells = new ArrayList<>();
        peers.share(
                requests.size(),
                item -> {
                    List<byte[]> parts = new ArrayList<>();
                    List<GeneratedImage> generated = generate(generator, requests, item, all, peers.world());
                    for (int i = 0; i < generated.size(); i++) {
                        parts.add(new Png(
                                        generated.get(i).image(),
                                        settings(requests.get(item), i).text())
                                .bytes());
                        parts.add(
                                saveLatents == null
                                        ? new byte[0]
                                        : Frames.floats(generated.get(i).latents()));
                    }
                    return Frames.list(parts);
                },
                (item, result) -> {
                    List<byte[]> parts = Frames.list(result);
                    for (int i = 0; i < parts.size() / 2; i++) {
                        Prompt prompt = requests.get(item).prompts().get(i);
                        long seed = prompt.seed().getAsLong();
                        int number = item * generation.batch() + i;
                        Path file = out.resolve(String.format(Locale.ROOT, "%05d-%d.png", number, seed));
                        AtomicFiles.write(file, parts.get(2 * i));
                        spec.commandLine().getOut().println(file);
                        if (cells.size() < SHEET_IMAGES) {
                            RgbImage image =
                                    Png.read(file.toString(), parts.get(2 * i)).image();
                            cells.add(new ContactSheet.Cell(
                                    ContactSheet.shrunk(image, SHEET_CELL), prompt.text() + " (" + seed + ")"));
                        }
                        if (latents != null) {
                            latents.add(Frames.floats(parts.get(2 * i + 1)));
                        }
                    }
                });
        if (cells.size() > 1) {
            Path sheet = out.resolve("sheet.png");
            new Png(ContactSheet.draw(cells, SHEET_COLUMNS, SHEET_CELL), Map.of()).write(sheet);
            spec.commandLine()
                    .getOut()
                    .println(cells.size() < all ? sheet + ": the first " + SHEET_IMAGES + " of " + all : sheet);
        }
    }

    /// Generates the images of a request; rank 0 shows its progress.
    private List<GeneratedImage> generate(
            TextToImage generator, List<ImageRequest> requests, int item, int all, World world) {
        ImageRequest request = requests.get(item);
        if (!world.isFirst()) {
            return generator.generate(request);
        }
        int from = item * generation.batch();
        int to = from + request.prompts().size();
        String which = (from + 1) + (to > from + 1 ? "-" + to : "") + " of " + all;
        Progress.Display display =
                Progress.Display.ofStandardError(spec.commandLine().getErr());
        try (Progress progress = new Progress(display, "image " + which, "step", 0, 0)) {
            return generator.generate(request, (done, of) -> {
                progress.total(of);
                progress.to(done);
            });
        }
    }

    private ImageSettings settings(ImageRequest request, int image) {
        Prompt prompt = request.prompts().get(image);
        Map<String, Object> more = new LinkedHashMap<>();
        Path name = model.toAbsolutePath().normalize().getFileName();
        more.put("model", name == null ? model.toString() : name.toString());
        more.put("precision", compute.precision().id());
        List<EvaluatedModel.Adapter> adapters = adapters();
        for (int i = 0; i < adapters.size(); i++) {
            EvaluatedModel.Adapter adapter = adapters.get(i);
            more.put("lora_" + (i + 1), adapter.file().getFileName() + ":" + adapter.weight());
        }
        if (negative != null) {
            more.putAll(negative.metadata());
        }
        return request.config().metadata(prompt, prompt.seed().getAsLong(), more);
    }
}
