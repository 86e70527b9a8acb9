package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.recipe.Recipe;

/// Diffusion-KTO from pairs to weights: it judges each image by itself, so each has its own timestep and noise, and the
/// mean gain is over the whole batch.
final class KtoTest {
    private static final String[] KTO = {
        "objective={method: kto, beta: 500}",
        "inversion=none",
        "learning_rate={value: 1e-3, schedule: constant, warmup_steps: 0}",
        "train.max_grad_norm=1"
    };

    @TempDir
    private Path temporary;

    private static String[] with(String... more) {
        String[] all = Arrays.copyOf(KTO, KTO.length + more.length);
        System.arraycopy(more, 0, all, KTO.length, more.length);
        return all;
    }

    @Test
    void itTrains() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        TinyRun.Said said = new TinyRun.Said();
        TrainingResult result = tiny.run(tiny.recipe("run", KTO), false, said);
        assertThat(result.finished()).as(result.reason()).isTrue();
        double[] losses = tiny.losses("run");
        assertThat(losses).hasSize(6);
        // The policy equals the reference, so every gain is 0 and the loss 1 - sigmoid(0).
        assertThat(losses[0]).isCloseTo(0.5, within(1e-6));
        assertThat(Arrays.stream(losses).skip(1))
                .allSatisfy(loss -> assertThat(loss).isBetween(0.0, 1.0))
                .anySatisfy(loss -> assertThat(Math.abs(loss - 0.5)).isGreaterThan(1e-3));
        assertThat(tiny.log("run"))
                .filteredOn(event -> event.get("event").equals("step"))
                .allSatisfy(event -> assertThat(((Number) event.get("gradient_norm")).doubleValue())
                        .isPositive());
    }

    @Test
    void itResumesBitForBit() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Recipe recipe = tiny.recipe("run", KTO);
        tiny.run(recipe);
        var whole = tiny.left("run");
        tiny.rename("run", "whole");
        tiny.runInTwo(recipe, 3);
        tiny.assertSame("run", whole);
    }

    /// The mean gain of a micro-batch would be another number.
    @Test
    void theMeanGainIsThatOfTheWholeBatch() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        double[][] losses = new double[2][];
        for (int microBatch : new int[] {1, 3}) {
            String name = "micro" + microBatch;
            tiny.run(tiny.recipe(name, with("train.micro_batch=" + microBatch)));
            losses[microBatch / 3] = tiny.losses(name);
        }
        for (int step = 0; step < losses[0].length; step++) {
            assertThat(losses[0][step]).as("step " + step).isCloseTo(losses[1][step], within(1e-4));
        }
    }

    @Test
    void eachImageHasItsOwnTimestep() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        assertThat(sharedTimesteps(tiny, KTO)).isLessThan(3);
        assertThat(sharedTimesteps(tiny, "objective={method: dpo, beta: 5000}", "inversion=none"))
                .isEqualTo(12);
    }

    /// The number of pairs in four batches of three whose images have the same timestep.
    private static int sharedTimesteps(TinyRun tiny, String... overrides) throws IOException, InterruptedException {
        Recipe recipe = tiny.recipe("run", overrides);
        int shared = 0;
        try (Setup setup = Setup.open(recipe, Optional.empty(), tiny.cache(), new TinyRun.Said())) {
            for (long step = 0; step < 4; step++) {
                try (PairStream.Batch batch = setup.pairs().batch(step)) {
                    int[] timesteps = batch.latents().timesteps();
                    for (int pair = 0; pair < 3; pair++) {
                        shared += timesteps[pair] == timesteps[3 + pair] ? 1 : 0;
                    }
                }
            }
        }
        return shared;
    }
}
