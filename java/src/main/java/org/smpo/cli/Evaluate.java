package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.smpo.checkpoint.SingleFile;
import org.smpo.doctor.BuildInfo;
import org.smpo.evaluate.Bootstrap;
import org.smpo.evaluate.Comparison;
import org.smpo.evaluate.Drawing;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.evaluate.Evaluation;
import org.smpo.evaluate.EvaluationRequest;
import org.smpo.evaluate.EvaluationResult;
import org.smpo.evaluate.Metric;
import org.smpo.evaluate.MetricSummary;
import org.smpo.evaluate.Metrics;
import org.smpo.generate.PromptFile;
import org.smpo.generate.SamplerName;
import org.smpo.io.Precision;
import org.smpo.network.Prompt;
import org.smpo.report.Progress;
import org.smpo.schedule.PredictionType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo evaluate`: compares models on a file of prompts.
@Command(
        name = "evaluate",
        description = {
            "Compare models: the same prompts from the same noise, measured, with intervals and a report.",
            "Stopped and started again it goes on where it was."
        },
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:written", "1:it failed", "2:wrong usage"})
final class Evaluate implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            arity = "1..*",
            paramLabel = "MODEL",
            description = {
                "[NAME=]PATH[+LORA[:WEIGHT]]: a diffusers folder, a checkpoint or a run's folder, with adapters or"
                        + " without.",
                "The others are compared with the first."
            })
    private List<String> models = List.of();

    @Option(
            names = "--prompts",
            required = true,
            paramLabel = "FILE",
            description = "A prompt on each line; .tsv with Prompt and Category, as PartiPrompts; or .jsonl with"
                    + " prompt, negative_prompt, seed and category.")
    private Path prompts;

    @Option(names = "--limit", paramLabel = "N", description = "Only the first N prompts.")
    private Integer limit;

    @Option(
            names = "--reward",
            paramLabel = "[NAME=]DIR",
            description = "A CLIP model that measures, PickScore for instance; may be given several times.")
    private List<String> rewards = List.of();

    @Option(
            names = "--processor",
            paramLabel = "DIR",
            description = "Folder with preprocessor_config.json and tokenizer of the rewards that have none.")
    private Path processor;

    @Option(
            names = "--checker",
            description = "Measure with the demo's checker: right or wrong. For its captions, at 64x64.")
    private boolean checker;

    @Option(
            names = "--pictures",
            paramLabel = "N",
            defaultValue = "1",
            description = "Of each prompt, each from its own noise. Default: ${DEFAULT-VALUE}.")
    private int pictures;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Of the first picture; each further one has the next. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = "--negative-prompt", paramLabel = "TEXT", description = "What not to draw.")
    private String negativePrompt;

    @Option(names = "--height", paramLabel = "H", description = "In pixels. Default: the first model's own.")
    private Integer height;

    @Option(names = "--width", paramLabel = "W", description = "In pixels. Default: the first model's own.")
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

    @Option(names = "--vae-tile", paramLabel = "PIXELS", defaultValue = "0", description = "As in generate.")
    private int vaeTile;

    @Option(names = "--batch", paramLabel = "N", defaultValue = "1", description = "Pictures at once. Default: 1.")
    private int batch;

    @Option(names = "--device", paramLabel = "NAME", defaultValue = "cpu", description = "cpu, cuda or cuda:N.")
    private String device;

    @Option(names = "--precision", paramLabel = "TYPE", defaultValue = "fp32", description = "fp32 or bf16.")
    private String precision;

    @Option(names = "--threads", paramLabel = "N", defaultValue = "0", description = "0: one per physical core.")
    private int threads;

    @Option(
            names = "--config",
            paramLabel = "FOLDER",
            description = "For checkpoints: the diffusers folder that has their tokenizers, configs and scheduler.")
    private Path config;

    @Option(
            names = "--prediction-type",
            paramLabel = "TYPE",
            description = "For checkpoints that do not say: epsilon or v_prediction.")
    private String predictionType;

    @Option(
            names = "--resamples",
            paramLabel = "N",
            defaultValue = "2000",
            description = "Of the bootstrap. Default: ${DEFAULT-VALUE}.")
    private int resamples;

    @Option(
            names = "--gallery",
            paramLabel = "N",
            defaultValue = "8",
            description = "Gains, losses and random pictures that the report shows. Default: ${DEFAULT-VALUE}.")
    private int gallery;

    @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder for everything.")
    private Path out;

    Evaluate() {}

    @Override
    public Integer call() throws IOException {
        EvaluationResult result;
        try {
            result = Evaluation.run(
                    request(),
                    out,
                    Progress.Display.ofStandardError(spec.commandLine().getErr()));
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
        report(result);
        return 0;
    }

    private EvaluationRequest request() throws IOException {
        SingleFile.Options options = new SingleFile.Options(config, prediction());
        List<EvaluatedModel> all = new ArrayList<>();
        for (String model : models) {
            all.add(ModelArgument.parse(model, options));
        }
        List<Prompt> texts = PromptFile.read(prompts);
        if (limit != null && limit < 1) {
            throw new IllegalArgumentException("--limit: expected 1 or more, got " + limit);
        }
        if ((height != null && height < 1) || (width != null && width < 1)) {
            throw new IllegalArgumentException("--height, --width: expected 1 or more");
        }
        BuildInfo build = BuildInfo.read();
        return new EvaluationRequest(
                all,
                limit == null ? texts : texts.subList(0, Math.min(limit, texts.size())),
                negativePrompt,
                seed,
                pictures,
                new Drawing(
                        height == null ? 0 : height,
                        width == null ? 0 : width,
                        steps,
                        rule(),
                        guidanceScale,
                        guidanceRescale,
                        clipSkip,
                        vaeTile,
                        batch,
                        device,
                        precision(),
                        threads),
                measures(),
                new Bootstrap(0, resamples, 0.95),
                gallery,
                new EvaluationRequest.Provenance(build.version(), build.commit(), build.library(), command()),
                List.of());
    }

    /// Verdicts first: what nothing was trained on leads the report.
    private List<Metric.Source> measures() {
        List<Metric.Source> all = new ArrayList<>();
        if (checker) {
            all.add(Metrics.checker());
        }
        for (String reward : rewards) {
            int equals = reward.indexOf('=');
            boolean named = equals > 0 && !Files.exists(Path.of(reward));
            Path folder = Path.of(named ? reward.substring(equals + 1) : reward);
            String name = named ? reward.substring(0, equals) : rewards.size() == 1 ? "reward" : called(folder);
            boolean own = processor == null || Files.exists(folder.resolve("preprocessor_config.json"));
            all.add(Metrics.clip(name, folder, own ? folder : processor));
        }
        if (all.isEmpty()) {
            throw new IllegalArgumentException("expected a measure: --reward, --checker or both");
        }
        return all;
    }

    private static String called(Path folder) {
        return String.valueOf(folder.toAbsolutePath().normalize().getFileName()).replaceAll("[^A-Za-z0-9_-]", "_");
    }

    private SamplerName rule() {
        return Arrays.stream(SamplerName.values())
                .filter(known -> known.id().equals(sampler))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("--sampler: expected "
                        + Arrays.stream(SamplerName.values())
                                .map(SamplerName::id)
                                .collect(Collectors.joining(", "))
                        + ", got " + sampler));
    }

    private Precision precision() {
        return switch (precision) {
            case "fp32" -> Precision.FP32;
            case "bf16" -> Precision.BF16;
            default -> throw new IllegalArgumentException("--precision: expected fp32 or bf16, got " + precision);
        };
    }

    private PredictionType prediction() {
        return switch (predictionType) {
            case null -> null;
            case "epsilon" -> PredictionType.EPSILON;
            case "v_prediction" -> PredictionType.V_PREDICTION;
            default ->
                throw new IllegalArgumentException(
                        "--prediction-type: expected epsilon or v_prediction, got " + predictionType);
        };
    }

    /// The command line as one would type it.
    private String command() {
        return "smpo "
                + spec.commandLine().getParseResult().originalArgs().stream()
                        .map(word ->
                                word.matches("[A-Za-z0-9_./:=,+@%-]+") ? word : "'" + word.replace("'", "'\\''") + "'")
                        .collect(Collectors.joining(" "));
    }

    private void report(EvaluationResult result) {
        PrintWriter output = spec.commandLine().getOut();
        for (MetricSummary summary : result.summaries()) {
            if (summary.category() == null) {
                output.printf(
                        Locale.ROOT,
                        "%s: %s: %.5g [%.5g, %.5g]%n",
                        summary.metric(),
                        summary.model(),
                        summary.mean().estimate(),
                        summary.mean().low(),
                        summary.mean().high());
            }
        }
        for (Comparison found : result.comparisons()) {
            if (found.category() == null) {
                output.printf(
                        Locale.ROOT,
                        "%s: %s against %s: %+.5g [%+.5g, %+.5g], wins %.1f %% [%.1f, %.1f]%n",
                        found.metric(),
                        found.model(),
                        found.against(),
                        found.meanDifference().estimate(),
                        found.meanDifference().low(),
                        found.meanDifference().high(),
                        100 * found.winRate().estimate(),
                        100 * found.winRate().low(),
                        100 * found.winRate().high());
            }
        }
        output.println(result.report());
        output.flush();
    }
}
