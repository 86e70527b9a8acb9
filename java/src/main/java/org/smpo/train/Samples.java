package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Engine;
import org.smpo.generate.GeneratedImage;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.ImageRequest;
import org.smpo.generate.NegativeCondition;
import org.smpo.generate.NegativeNetwork;
import org.smpo.generate.TextToImage;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Png;
import org.smpo.network.Prompt;
import org.smpo.network.UNet;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.SamplesRecipe;
import org.smpo.report.TensorBoard;

/// Sample images of the policy in its current state: every prompt with every seed, from the same noise
/// each time. The policy is the model, or the negative network of the model that training started from.
final class Samples implements AutoCloseable {
    private final SamplesRecipe recipe;
    private final GenerationConfig config;
    private final TextToImage model;
    private final Map<String, String> metadata;

    /// @param policy networks of the run; the caller keeps ownership, as of the next
    /// @param encoder encoders of the model
    Samples(Engine engine, ModelFiles files, Policy policy, PairEncoder encoder, Recipe run) throws IOException {
        this.recipe = run.samples();
        int side = run.data().side();
        this.config = GenerationConfig.standard()
                .withSize(side, side)
                .withSampler(recipe.sampler(), recipe.steps())
                .withGuidanceScale(recipe.guidanceScale());
        Optional<UNet> start =
                run.samplesDraw() == SamplesRecipe.Draws.NEGATIVE ? policy.start(files) : Optional.empty();
        model = TextToImage.open(files, engine, start.orElse(policy.unet()), encoder.prompts(), encoder.vae());
        metadata = switch (run.samplesDraw()) {
            case POLICY -> Map.of();
            case NEGATIVE -> {
                if (start.isPresent()) {
                    model.useNegative(policy.unet(), NegativeCondition.EMPTY);
                } else {
                    model.useNegativeAdapters(NegativeCondition.EMPTY);
                }
                yield NegativeNetwork.metadata("policy", NegativeCondition.EMPTY);
            }
        };
    }

    private List<Prompt> prompts() {
        List<Prompt> prompts = new ArrayList<>();
        for (String prompt : recipe.prompts()) {
            for (long seed : recipe.seeds()) {
                prompts.add(new Prompt(prompt, "", OptionalLong.of(seed)));
            }
        }
        return prompts;
    }

    /// Generates the images as PNG files, one at a time. The processes share them and return all of
    /// them.
    List<byte[]> generate(Peers peers) throws IOException {
        List<Prompt> prompts = prompts();
        List<byte[]> own = new ArrayList<>();
        for (int i = 0; i < prompts.size(); i++) {
            if (!peers.world().has(i)) {
                continue;
            }
            Prompt prompt = prompts.get(i);
            GeneratedImage image =
                    model.generate(ImageRequest.of(List.of(prompt), config)).getFirst();
            long seed = prompt.seed().getAsLong();
            Map<String, String> text = new HashMap<>(metadata);
            text.put("prompt", prompt.text());
            text.put("seed", Long.toString(seed));
            own.add(new Png(image.image(), text).bytes());
        }
        return peers.deal(own);
    }

    /// Writes images into a new folder and to TensorBoard.
    void write(List<byte[]> images, Path folder, long step, TensorBoard board) throws IOException {
        List<Prompt> prompts = prompts();
        for (int i = 0; i < images.size(); i++) {
            Prompt prompt = prompts.get(i);
            board.image(step, "samples/" + prompt.text() + " (" + prompt.seed().getAsLong() + ")", images.get(i));
        }
        Files.createDirectories(folder.getParent());
        AtomicFiles.writeDirectory(folder, target -> {
            for (int i = 0; i < images.size(); i++) {
                String name = String.format(
                        Locale.ROOT,
                        "%03d-%d.png",
                        i / recipe.seeds().size(),
                        prompts.get(i).seed().getAsLong());
                Files.write(target.resolve(name), images.get(i));
            }
        });
    }

    @Override
    public void close() {
        model.close();
    }
}
