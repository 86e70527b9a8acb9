package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.IntFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.BadPair;
import org.smpo.data.JoinedImages;
import org.smpo.data.PairUse;
import org.smpo.data.RecordImages;
import org.smpo.data.SingleImage;
import org.smpo.io.ParquetWriter;
import org.smpo.io.Rendering;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.TrainingImages;

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

    // ---- single images ----

    private static String[] unpaired(String... more) {
        return with(Stream.concat(
                        Stream.of("data.images=both", "data.desirable_share=0.8", "train.pairs_per_step=4"),
                        Stream.of(more))
                .toArray(String[]::new));
    }

    private static List<Map<String, Object>> steps(TinyRun tiny, String name) throws IOException {
        return tiny.log(name).stream()
                .filter(event -> event.get("event").equals("step"))
                .toList();
    }

    private static int count(Map<String, Object> event, String key) {
        return ((Number) event.get(key)).intValue();
    }

    @Test
    void theImagesOfPairsTrainAsSingleImages() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        TrainingResult result = tiny.run(tiny.recipe("run", unpaired("evaluate.every=3", "data.held_out=6")));
        assertThat(result.finished()).as(result.reason()).isTrue();
        assertThat(tiny.losses("run")[0]).isCloseTo(0.5, within(1e-6));
        assertThat(steps(tiny, "run")).hasSize(6).allSatisfy(event -> {
            assertThat(count(event, "pairs")).isEqualTo(4);
            assertThat(count(event, "desirable")).isBetween(0, 4);
            assertThat(event).containsKeys("error", "reference_error", "mean_gain", "implicit_accuracy");
            assertThat(event).doesNotContainKeys("winner_error", "loser_error", "margins");
            assertThat(event.containsKey("desirable_gain")).isEqualTo(count(event, "desirable") > 0);
            assertThat(event.containsKey("undesirable_gain")).isEqualTo(count(event, "desirable") < 4);
        });
        assertThat(steps(tiny, "run").stream()
                        .mapToInt(event -> count(event, "desirable"))
                        .sum())
                .as("of 24 images, about 0.8")
                .isBetween(14, 23);
        assertThat(tiny.log("run"))
                .filteredOn(event -> event.get("event").equals("evaluation"))
                .hasSize(2)
                .allSatisfy(event -> assertThat(count(event, "pairs")).isEqualTo(6));
    }

    @Test
    void singleImagesResumeBitForBit() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Recipe recipe = tiny.recipe("run", unpaired());
        tiny.run(recipe);
        var whole = tiny.left("run");
        tiny.rename("run", "whole");
        tiny.runInTwo(recipe, 3);
        tiny.assertSame("run", whole);
    }

    @Test
    void theReferencePointOfSingleImagesIsThatOfTheWholeBatch() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        double[][] losses = new double[2][];
        for (int i = 0; i < 2; i++) {
            tiny.run(tiny.recipe("micro" + i, unpaired("train.micro_batch=" + (i == 0 ? 1 : 4))));
            losses[i] = tiny.losses("micro" + i);
        }
        for (int step = 0; step < losses[0].length; step++) {
            assertThat(losses[0][step]).as("step " + step).isCloseTo(losses[1][step], within(1e-4));
        }
    }

    /// An imagefolder of the images of the tiny pairs: even ones desirable.
    private Path imagefolder(TinyRun tiny, String extra, IntFunction<String> label) throws IOException {
        Path folder = Files.createDirectories(temporary.resolve("images" + extra));
        StringBuilder lines = new StringBuilder();
        for (int image = 0; image < 8; image++) {
            String name = image + "_" + image % 2 + ".png";
            Files.copy(tiny.data().resolve(name), folder.resolve(name));
            lines.append("{\"file_name\": \"%s\", \"text\": \"a cat number %d\"%s}%n"
                    .formatted(name, image, label.apply(image)));
        }
        Files.writeString(folder.resolve("metadata.jsonl"), lines);
        return folder;
    }

    private static String[] single(Path folder, String... more) {
        return with(Stream.concat(
                        Stream.of(
                                "data={paths: ['" + folder + "'], resolution: 16, images: single, decode_threads: 2}",
                                "labels.range=published"),
                        Stream.of(more))
                .toArray(String[]::new));
    }

    @Test
    void anImagefolderWithLabelsTrains() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Path folder = imagefolder(tiny, "", image -> ", \"label\": " + (image % 2 == 0));
        TinyRun.Said said = new TinyRun.Said();
        Recipe recipe = tiny.recipe("run", single(folder));
        assertThat(tiny.run(recipe, false, said).finished()).isTrue();
        assertThat(said.messages)
                .anyMatch(line -> line.endsWith(
                        "8 images to train on or hold out, 4 desirable, " + "4 undesirable, 0 without a label"));
        assertThat(steps(tiny, "run"))
                .allSatisfy(event -> assertThat(count(event, "pairs")).isEqualTo(3));
        // The recipe as it was resolved reads back.
        assertThat(Recipe.read(tiny.output("run").resolve("recipe.yaml"), List.of())
                        .data()
                        .images())
                .isEqualTo(TrainingImages.SINGLE);
    }

    @Test
    void imagesWithoutLabelsAreForSft() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Path folder = imagefolder(tiny, "", image -> "");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> tiny.run(tiny.recipe("kto", single(folder))))
                .withMessageStartingWith(
                        "data.paths: label: expected true or false for kto, found none in 8 images of ");
        assertThat(tiny.run(tiny.recipe("sft", single(folder, "objective={method: sft}")))
                        .finished())
                .isTrue();
        assertThat(steps(tiny, "sft"))
                .allSatisfy(
                        event -> assertThat(event).containsKey("winner_error").doesNotContainKey("loser_error"));
    }

    @Test
    void imagesOfOneKindAreRefused() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Path folder = imagefolder(tiny, "", image -> ", \"label\": 1");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> tiny.run(tiny.recipe("kto", single(folder))))
                .withMessageStartingWith(
                        "data.paths: expected desirable and undesirable images for kto, found desirable ones only in"
                                + " 8");
    }

    /// A label that is neither true nor false makes its record a bad one, which is left out.
    @Test
    void badLabelsAreLeftOut() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Path folder = imagefolder(
                tiny, "", image -> ", \"label\": " + (image == 3 ? "\"maybe\"" : image == 4 ? "null" : image % 2));
        TinyRun.Said said = new TinyRun.Said();
        tiny.run(tiny.recipe("run", single(folder)), false, said);
        assertThat(said.messages)
                .anyMatch(line -> line.endsWith(
                        "6 images to train on or hold out, 3 desirable, " + "3 undesirable, 2 without a label"));
        try (RecordImages images = RecordImages.open(folder, Optional.empty(), Rendering.VIEWER)) {
            assertThat(images.read(List.of(3)).getFirst())
                    .isInstanceOfSatisfying(
                            BadPair.class,
                            bad -> assertThat(bad.message())
                                    .isEqualTo(
                                            "metadata.jsonl: line 4: label: expected true or false, or 1 or 0, found "
                                                    + "\"maybe\""));
            assertThat(images.desirable(5)).contains(true);
            assertThat(images.desirable(6)).contains(false);
        }
    }

    /// Columns as TRL and Hugging Face name them; a row without an image is a bad one.
    @Test
    void parquetWithLabelsIsRead() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Path folder = Files.createDirectories(temporary.resolve("parquet"));
        List<ParquetWriter.Column> columns = List.of(
                ParquetWriter.Column.text("text"),
                ParquetWriter.Column.bytes("image"),
                ParquetWriter.Column.integer("label"));
        ParquetWriter.write(folder.resolve("train.parquet"), columns, new TreeMap<>(), writer -> {
            for (long image = 0; image < 8; image++) {
                writer.add(
                        "a cat number " + image,
                        image == 5 ? null : Files.readAllBytes(tiny.data().resolve(image + "_0.png")),
                        image % 2);
            }
        });
        try (RecordImages images = RecordImages.open(folder, Optional.empty(), Rendering.VIEWER)) {
            assertThat(images.size()).isEqualTo(8);
            assertThat(images.desirable(3)).contains(true);
            assertThat(images.desirable(4)).contains(false);
            assertThat(images.describe()).startsWith("8 images of 1 Parquet file");
            assertThat(images.read(List.of(5, 2)))
                    .satisfiesExactly(
                            bad -> assertThat(((BadPair) bad).message())
                                    .isEqualTo("train.parquet: row 5: image: expected an image, found nothing"),
                            good -> assertThat(((SingleImage) good).caption()).isEqualTo("a cat number 2"));
            assertThat(images.notes()).isEmpty();
        }
        Files.copy(folder.resolve("train.parquet"), folder.resolve("validation.parquet"));
        try (RecordImages images = RecordImages.open(folder, Optional.empty(), Rendering.VIEWER)) {
            assertThat(images.size()).isEqualTo(8);
            assertThat(images.notes())
                    .containsExactly(folder + ": of several splits train is taken, left out: validation");
        }
    }

    @Test
    void severalFoldersAreOneSource() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        Path one = imagefolder(tiny, "1", image -> ", \"label\": true");
        Path two = imagefolder(tiny, "2", image -> ", \"label\": false");
        try (RecordImages first = RecordImages.open(one, Optional.empty(), Rendering.VIEWER);
                RecordImages second = RecordImages.open(two, Optional.empty(), Rendering.VIEWER)) {
            JoinedImages both = new JoinedImages(List.of(first, second));
            assertThat(both.size()).isEqualTo(16);
            assertThat(both.desirable(7)).contains(true);
            assertThat(both.desirable(8)).contains(false);
            assertThat(both.read(List.of(9, 1, 15)))
                    .extracting(record -> ((SingleImage) record).index())
                    .containsExactly(9, 1, 15);
            assertThat(both.read(List.of(9, 1)))
                    .extracting(record -> ((SingleImage) record).caption())
                    .containsExactly("a cat number 1", "a cat number 1");
            assertThat(both.fingerprint()).isNotEqualTo(first.fingerprint());
            assertThat(first.fingerprint()).isNotEqualTo(second.fingerprint());
        }
    }

    /// Training on the winners of pairs is the same with the key and by the method's default.
    @Test
    void winnersAreWhatSftReadsOfPairs() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 8);
        String[] sft = {"objective={method: sft}", "inversion=none"};
        tiny.run(tiny.recipe("pairs", sft));
        tiny.run(tiny.recipe("winners", sft[0], sft[1], "data.images=winner"));
        tiny.run(tiny.recipe("losers", sft[0], sft[1], "data.images=loser"));
        assertThat(tiny.losses("winners")).isEqualTo(tiny.losses("pairs")).isNotEqualTo(tiny.losses("losers"));
    }

    @Test
    void theKindIsChosenByItsShare() {
        KindSampler sampler = new KindSampler(3, 0.8, new int[] {1, 4}, new int[] {0, 2, 9});
        int[] seen = new int[10];
        for (long step = 0; step < 500; step++) {
            List<PairUse> uses = sampler.batch(step, 8);
            assertThat(uses).isEqualTo(sampler.batch(step, 8)).hasSize(8);
            uses.forEach(use -> seen[use.pair()]++);
        }
        assertThat(seen[1] / 4000.0).isCloseTo(0.4, within(0.03));
        assertThat(seen[4] / 4000.0).isCloseTo(0.4, within(0.03));
        for (int image : new int[] {0, 2, 9}) {
            assertThat(seen[image] / 4000.0).isCloseTo(0.2 / 3, within(0.02));
        }
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new KindSampler(3, 0.8, new int[] {1}, new int[0]))
                .withMessageStartingWith("data.desirable_share: expected desirable and undesirable images to train on");
    }
}
