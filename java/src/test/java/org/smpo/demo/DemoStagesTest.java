package org.smpo.demo;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The commands of the demo, and which of them an interrupted demo repeats.
final class DemoStagesTest {
    @TempDir
    private Path out;

    private List<DemoStages.Stage> stages(boolean quick, boolean inversions, boolean ownImages) {
        return new DemoStages(out, 3, quick, inversions, ownImages).stages(scores -> scores.resolveSibling("journal"));
    }

    private static List<String> names(List<DemoStages.Stage> stages) {
        return stages.stream().map(DemoStages.Stage::name).toList();
    }

    @Test
    void theOptionsChooseTheStages() {
        assertThat(names(stages(false, true, true)))
                .containsExactly(
                        "draw",
                        "score",
                        "train smpo",
                        "train dpo",
                        "train smpo-v020",
                        "train smpo-v022",
                        "rounds smpo-own",
                        "evaluate");
        assertThat(names(stages(true, true, false)))
                .containsExactly("draw", "score", "train smpo", "train dpo", "evaluate");
        assertThat(names(stages(false, false, false))).isEqualTo(names(stages(true, true, false)));
    }

    @Test
    void anInterruptedStageIsResumed() throws IOException {
        DemoStages.Stage score = stages(true, true, false).get(1);
        assertThat(score.words().get()).doesNotContain("--resume");
        Files.createFile(out.resolve("journal"));
        assertThat(score.words().get()).contains("--resume");
        DemoStages.Stage train = stages(true, true, false).get(2);
        assertThat(train.words().get()).doesNotContain("--resume");
        Files.createFile(Files.createDirectories(out.resolve("smpo")).resolve("recipe.yaml"));
        assertThat(train.words().get()).contains("--resume");
        DemoStages.Stage rounds = stages(false, false, true).get(4);
        assertThat(rounds.words().get()).startsWith("iterate").doesNotContain("--resume");
        Files.createFile(Files.createDirectories(out.resolve("smpo-own")).resolve("rounds.yaml"));
        assertThat(rounds.words().get()).contains("--resume");
    }

    /// The round on the model's own images ends with a run, which the evaluation reads.
    @Test
    void theRoundIsEvaluated() throws IOException {
        List<DemoStages.Stage> stages = stages(false, false, true);
        stages.get(4).words().get();
        assertThat(out.resolve("smpo-own.yaml")).content().contains("rounds:", "run it with: smpo iterate FILE");
        assertThat(stages.getLast().words().get()).contains("smpo-own=" + out.resolve("smpo-own/round-01/run"));
        assertThat(stages.get(4).isDone()).isFalse();
        Files.createFile(
                Files.createDirectories(out.resolve("smpo-own/round-01")).resolve("round.json"));
        assertThat(stages.get(4).isDone()).isTrue();
    }

    /// The evaluation has no result of its own: it decides which images are missing.
    @Test
    void aStageWithItsResultIsDone() throws IOException {
        List<DemoStages.Stage> stages = stages(true, true, false);
        assertThat(stages.getFirst().isOpen()).isTrue();
        Files.createFile(Files.createDirectories(out.resolve(DemoRecipe.DRAWN)).resolve(PreferencePairs.FILE));
        assertThat(stages.getFirst().isDone()).isTrue();
        assertThat(stages.getFirst().isOpen()).isFalse();
        assertThat(stages.getLast().isDone()).isFalse();
        assertThat(stages.getLast().isOpen()).isFalse();
    }

    @Test
    void aFolderHoldsOneDemo() throws IOException {
        new DemoStages(out, 3, true, true, false).prepare();
        assertThat(out.resolve("model")).isDirectory();
        // Further runs in the same folder share its pairs and prompts.
        new DemoStages(out, 3, true, true, true).prepare();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new DemoStages(out, 4, true, true, false).prepare())
                .withMessageContaining("other settings");
    }
}
