package org.smpo.demo;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.generate.PromptFile;
import org.smpo.network.Prompt;
import org.smpo.recipe.IterateRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.RecipeException;

/// Files packaged with the demo.
final class DemoFilesTest {
    private static final long MOST_BYTES = 8_500_000;

    @TempDir
    private Path temporary;

    @Test
    void modelsAreCompleteAndSmall() throws IOException {
        DemoFiles.unpack(temporary);
        try (ModelFiles files = ModelFiles.open(temporary.resolve("model"))) {
            assertThat(files.family()).contains(Family.SD1);
            assertThat(files.components()).containsKeys("unet", "vae", "text_encoder");
        }
        long bytes = 0;
        try (Stream<Path> all = Files.walk(temporary)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                bytes += Files.size(file);
            }
        }
        assertThat(bytes).isBetween(1_000_000L, MOST_BYTES);
    }

    @Test
    void aDamagedFileIsReplacedAndAnIntactOneIsKept() throws IOException {
        DemoFiles.unpack(temporary);
        Path whole = temporary.resolve("reward/config.json");
        Path damaged = temporary.resolve("model/model_index.json");
        byte[] before = Files.readAllBytes(damaged);
        Files.writeString(damaged, "{}");
        Object time = Files.getLastModifiedTime(whole);
        DemoFiles.unpack(temporary);
        assertThat(damaged).hasBinaryContent(before);
        assertThat(Files.getLastModifiedTime(whole)).isEqualTo(time);
    }

    @Test
    void promptsAreHeldOutAndEvenlyOfEachCategory() throws IOException {
        Path file = Files.writeString(temporary.resolve("prompts.tsv"), DemoFiles.prompts(1));
        List<Prompt> prompts = PromptFile.read(file);
        assertThat(prompts)
                .allSatisfy(prompt ->
                        assertThat(Scene.parse(prompt.text()).heldOut()).isTrue());
        assertThat(prompts.stream().map(Prompt::text).distinct()).hasSameSizeAs(prompts);
        assertThat(prompts.stream().collect(Collectors.groupingBy(Prompt::category, Collectors.counting())))
                .containsOnly(
                        Map.entry("one object", 12L), Map.entry("equal objects", 12L), Map.entry("two objects", 24L));
        assertThat(prompts.stream()
                        .map(prompt -> Scene.parse(prompt.text()))
                        .filter(Scene.Two.class::isInstance)
                        .map(scene -> ((Scene.Two) scene).second().colour())
                        .distinct())
                .hasSizeGreaterThan(Colour.values().length / 2);
        assertThat(DemoFiles.prompts(2).lines().toList()).hasSize(1 + 6 + 6 + 12);
    }

    @Test
    void recipesReadBack() throws IOException, RecipeException {
        Path folder = Path.of("a folder's name");
        for (DemoRecipe recipe : DemoRecipe.values()) {
            String text = recipe.text(folder, 7, 1)
                    + (recipe.ofOwnImages() ? DemoRecipe.rounds(folder, 2, "{steps: 10}") : "");
            Path file = Files.writeString(temporary.resolve(recipe.runName() + ".yaml"), text);
            Recipe read = recipe.ofOwnImages()
                    ? IterateRecipe.read(file, List.of()).training()
                    : Recipe.read(file, List.of());
            assertThat(read.model()).isEqualTo(folder.resolve("model"));
            assertThat(read.output()).isEqualTo(folder.resolve(recipe.runName()));
            assertThat(read.seed()).isEqualTo(7);
        }
        assertThat(Stream.of(DemoRecipe.values())
                        .map(recipe -> recipe.text(folder, 7, 1))
                        .collect(Collectors.toSet()))
                .hasSize(DemoRecipe.values().length);
        assertThat(DemoRecipe.SMPO.text(folder, 7, 3).lines().map(String::strip))
                .contains("steps: 16");
    }
}
