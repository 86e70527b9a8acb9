package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.evaluate.Bootstrap;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.evaluate.Evaluation;
import org.smpo.evaluate.EvaluationRequest;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Json;
import org.smpo.io.ShellWords;
import org.smpo.network.Prompt;
import org.smpo.parallel.Peers;
import org.smpo.train.TrainingResult.Ending;

/// Generates and scores images: `smpo evaluate`.
///
/// @param name name of the stage
/// @param plan settings
/// @param models models by the number of rounds that made them; 0 is the model of the recipe
/// @param promptFile file of the prompts
/// @param prompts prompts of the file
/// @param writesPrompts whether the stage writes that file
/// @param images number of images per prompt
/// @param seed seed of the first image
/// @param rewards rewards that score the images
/// @param folder folder of the evaluation
record EvaluateStage(
        String name,
        IterationPlan plan,
        List<Integer> models,
        Path promptFile,
        List<Prompt> prompts,
        boolean writesPrompts,
        int images,
        long seed,
        List<RoundReward> rewards,
        Path folder)
        implements Stage {
    private static final int GALLERY = 8;

    @Override
    public List<String> words() {
        List<String> words = new ArrayList<>(List.of("evaluate"));
        models.forEach(model -> words.add(plan.modelWord(model)));
        words.addAll(List.of("--prompts", promptFile.toString(), "--images", Integer.toString(images)));
        words.addAll(List.of("--seed", Long.toString(seed)));
        rewards.forEach(reward -> words.addAll(List.of("--reward", reward.text())));
        plan.recipe().rounds().processor().ifPresent(folder -> words.addAll(List.of("--processor", folder.toString())));
        words.addAll(plan.generationWords());
        words.addAll(List.of("--out", folder.toString()));
        return words;
    }

    @Override
    public boolean isDone() throws IOException {
        return Evaluation.isFinished(
                folder, rewards.stream().map(RoundReward::name).toList());
    }

    @Override
    public Ending run(Peers peers, Iteration.Listener listener) throws IOException {
        if (writesPrompts && peers.world().isFirst()) {
            Files.createDirectories(promptFile.getParent());
            AtomicFiles.write(promptFile, promptText());
        }
        List<EvaluatedModel> all = new ArrayList<>();
        for (int model : models) {
            all.add(plan.model(model));
        }
        Evaluation.run(
                new EvaluationRequest(
                        all,
                        prompts,
                        plan.recipe().rounds().generation().negativePrompt().orElse(null),
                        seed,
                        images,
                        plan.generation(),
                        rewards.stream().map(RoundReward::metric).toList(),
                        Bootstrap.standard(),
                        GALLERY,
                        plan.program().withCommand("smpo " + ShellWords.join(words())),
                        List.of()),
                folder,
                peers,
                listener.display());
        return Ending.FINISHED;
    }

    /// Returns the stage that scores the images of this one, which are there, by another reward as well.
    EvaluateStage scoredBy(String stage, RoundReward reward) {
        List<RoundReward> all = new ArrayList<>(rewards);
        all.add(reward);
        return new EvaluateStage(stage, plan, models, promptFile, prompts, false, images, seed, all, folder);
    }

    private String promptText() {
        List<Map<String, Object>> all = new ArrayList<>();
        for (Prompt prompt : prompts) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("prompt", prompt.text());
            if (prompt.negative() != null) {
                one.put("negative_prompt", prompt.negative());
            }
            if (prompt.category() != null) {
                one.put("category", prompt.category());
            }
            all.add(one);
        }
        return Json.canonical(all);
    }
}
