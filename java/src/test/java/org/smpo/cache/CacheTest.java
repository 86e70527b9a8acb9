package org.smpo.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.Crop;
import org.smpo.data.DecodeOptions;
import org.smpo.data.EncodedImage;
import org.smpo.data.ImagePlacement;
import org.smpo.data.PairDecoder;
import org.smpo.data.PairSource;
import org.smpo.data.PairUse;
import org.smpo.data.PreparedBatch;
import org.smpo.data.PreparedImage;
import org.smpo.data.PreparedPair;
import org.smpo.io.Digest;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;

final class CacheTest {
    @TempDir
    private Path temporary;

    private final List<String> warnings = new ArrayList<>();

    private Cache cache() {
        return Cache.open(temporary.resolve("cache"), warnings::add);
    }

    private static CacheKey key(String input) {
        return new CacheKey("a-kind", "model", input, "as it is");
    }

    private static CachedTensor tensor(float a, float b) {
        return CachedTensor.of(new float[] {a, b}, 2L, 1L, 1L);
    }

    private static Map<String, CachedTensor> value(float... values) {
        return Map.of(
                "x", CachedTensor.of(values, (long) values.length), "y", CachedTensor.of(new float[] {values[0]}));
    }

    @Test
    void keysAreOfEveryPart() {
        List<CacheKey> keys = List.of(
                new CacheKey("k", "ab", "c", "d"),
                new CacheKey("k", "a", "bc", "d"),
                new CacheKey("k", "ab", "cd", ""),
                new CacheKey("l", "ab", "c", "d"),
                new CacheKey("k", "ab", "c", "e"));
        assertThat(keys.stream().map(CacheKey::sha256)).doesNotHaveDuplicates().allMatch(name -> name.length() == 64);
        // The name of a file that people already have must not change: sha256 of 00000001 "k" 00000002 "ab" ...
        assertThat(keys.get(0).sha256()).isEqualTo("2b0ddfb3480518ebaf49100f087744ae0d9f896c91a765b1c9acd57b3fc44d97");
        assertThatThrownBy(() -> new CacheKey("../x", "a", "b", "")).hasMessageContaining("kind: expected");
        assertThatThrownBy(() -> new CacheKey("k", "", "b", "")).hasMessageContaining("a model and an input");
    }

    @Test
    void whatIsStoredIsFound() throws IOException {
        Cache cache = cache();
        assertThat(cache.find(key("1"))).isEmpty();
        cache.put(key("1"), value(1, Float.NaN, -0f));
        assertThat(cache.find(key("1"))).hasValue(new java.util.TreeMap<>(value(1, Float.NaN, -0f)));
        assertThat(cache.find(key("1")).orElseThrow()).isNotEqualTo(value(1, Float.NaN, 0f));
        assertThat(cache.find(key("2"))).isEmpty();
        cache.put(key("1"), value(2));
        assertThat(cache.find(key("1")).orElseThrow().get("x").floats()).containsExactly(2);
        assertThat(cache.find(key("1")).orElseThrow().get("y").floats()).containsExactly(2);
        assertThatThrownBy(() -> CachedTensor.of(new float[3], 2L, 2L)).hasMessageContaining("expected 4 elements");
        assertThat(warnings).isEmpty();
    }

    @Test
    void onlyWhatIsMissingIsComputedAndOnlyOnce() throws IOException {
        Cache cache = cache();
        List<List<Integer>> asked = new ArrayList<>();
        Cache.Computation computation = missing -> {
            asked.add(missing);
            return missing.stream().map(i -> value(i)).toList();
        };
        cache.put(key("b"), value(100));
        List<CacheKey> keys = List.of(key("a"), key("b"), key("a"), key("c"));
        List<Float> first = firsts(cache.getOrCompute(keys, computation));
        assertThat(first).containsExactly(0f, 100f, 0f, 3f);
        assertThat(firsts(cache.getOrCompute(keys, computation))).isEqualTo(first);
        assertThat(asked).containsExactly(List.of(0, 3));
        assertThatThrownBy(() -> cache.getOrCompute(List.of(key("d")), missing -> List.of()))
                .hasMessageContaining("expected 1 computed values, got 0");
        assertThat(cache.getOrCompute(List.of(), computation)).isEmpty();
    }

    private static List<Float> firsts(List<? extends Map<String, CachedTensor>> values) {
        return values.stream().map(value -> value.get("x").floats()[0]).toList();
    }

    /// With each bit of an entry flipped in turn, and with the file cut at every length, no wrong value
    /// is returned.
    @Test
    void noDamageIsEverUsed() throws IOException {
        Cache cache = cache();
        cache.put(key("1"), value(1.5f));
        Path file = cache.file(key("1"));
        byte[] sound = Files.readAllBytes(file);
        int flips = 0;
        for (int at = 0; at < sound.length; at++) {
            byte[] damaged = sound.clone();
            damaged[at] ^= (byte) (1 << at % 8);
            Files.write(file, damaged);
            Optional<? extends Map<String, CachedTensor>> found = cache.find(key("1"));
            if (found.isPresent()) {
                // Padding of the header and the format number do not affect the value.
                assertThat(found.get()).as("byte %d", at).isEqualTo(value(1.5f));
                flips++;
            } else {
                assertThat(file).doesNotExist();
            }
        }
        assertThat(flips).isLessThan(sound.length / 4);
        for (int length = 0; length < sound.length; length++) {
            Files.write(file, Arrays.copyOf(sound, length));
            assertThat(cache.find(key("1"))).as("%d bytes", length).isEmpty();
            assertThat(file).doesNotExist();
        }
        // Reported once, not each time.
        assertThat(warnings).hasSize(1);
        assertThat(warnings.get(0)).contains(file.toString(), "computed again");
        assertThat(firsts(cache.getOrCompute(List.of(key("1")), missing -> List.of(value(9)))))
                .containsExactly(9f);
        assertThat(Files.readAllBytes(file)).hasSameSizeAs(sound);
    }

    @Test
    void anotherKeysEntryIsNotTaken() throws IOException {
        Cache cache = cache();
        cache.put(key("1"), value(1));
        cache.put(key("2"), value(2));
        Files.copy(cache.file(key("1")), cache.file(key("2")), StandardCopyOption.REPLACE_EXISTING);
        assertThat(cache.verify(false).damaged())
                .singleElement()
                .satisfies(damage -> assertThat(damage.reason()).contains("another key's value"));
        assertThat(cache.find(key("2"))).isEmpty();
        assertThat(cache.find(key("1"))).isPresent();
    }

    @Test
    void verifyFindsAndRemovesDamage() throws IOException {
        Cache cache = cache();
        assertThat(cache.verify(false)).isEqualTo(new Cache.Verification(new Cache.Total(0, 0), List.of()));
        for (int i = 0; i < 5; i++) {
            cache.put(key("" + i), value(i));
        }
        Path broken = cache.file(key("3"));
        byte[] bytes = Files.readAllBytes(broken);
        bytes[bytes.length - 1] ^= 1;
        Files.write(broken, bytes);
        // Left behind by a process that has ended.
        Path partial = broken.resolveSibling(".x.safetensors.999999999-1-0.smpo-partial");
        Files.writeString(partial, "half");
        Cache.Verification found = cache.verify(false);
        assertThat(found.sound().count()).isEqualTo(4);
        assertThat(found.damaged()).extracting(Cache.Damage::file).containsExactly(broken);
        assertThat(found.damaged().get(0).reason()).contains("digest");
        assertThat(partial).doesNotExist();
        assertThat(broken).exists();
        assertThat(cache.verify(true).damaged()).hasSize(1);
        assertThat(broken).doesNotExist();
        assertThat(cache.verify(true).damaged()).isEmpty();
        assertThat(cache.totals()).containsOnlyKeys("a-kind");
        assertThat(cache.totals().get("a-kind").count()).isEqualTo(4);
        assertThat(cache.totals().get("a-kind").bytes()).isEqualTo(4L * bytes.length);
    }

    @Test
    void pruningTakesTheLeastRecentlyUsedFirst() throws IOException {
        Cache cache = cache();
        Instant now = Instant.parse("2026-11-21T12:00:00Z");
        for (int i = 0; i < 6; i++) {
            CacheKey key = i < 4 ? key("" + i) : new CacheKey("other", "m", "" + i, "");
            cache.put(key, value(i));
            Files.setLastModifiedTime(cache.file(key), FileTime.from(now.minus(Duration.ofDays(10 - i))));
        }
        long each = Files.size(cache.file(key("0")));
        Cache.PruneLimits old = new Cache.PruneLimits(Set.of(), Duration.ofDays(9), -1);
        assertThat(cache.prune(old, now).removed()).isEqualTo(new Cache.Total(1, each));
        assertThat(cache.find(key("0"))).isEmpty();
        // Age 9 exactly is not older than 9 days.
        Cache.PruneLimits small = new Cache.PruneLimits(Set.of("a-kind"), null, 2 * each);
        Cache.Pruning pruned = cache.prune(small, now);
        assertThat(pruned.removed().count()).isEqualTo(1);
        assertThat(pruned.left().count()).isEqualTo(4);
        assertThat(cache.entries()).extracting(Cache.Entry::file).doesNotContain(cache.file(key("1")));
        Cache.PruneLimits kind = new Cache.PruneLimits(Set.of("other"), null, -1);
        assertThat(cache.prune(kind, now).removed().count()).isEqualTo(2);
        assertThat(cache.entries()).hasSize(2);
        assertThat(cache.prune(new Cache.PruneLimits(Set.of(), null, 0), now).left())
                .isEqualTo(new Cache.Total(0, 0));
    }

    @Test
    void useIsNoted() throws IOException {
        Cache cache = cache();
        cache.put(key("1"), value(1));
        Instant before = Instant.now().minus(Duration.ofDays(3));
        Files.setLastModifiedTime(cache.file(key("1")), FileTime.from(before));
        assertThat(cache.find(key("1"))).isPresent();
        assertThat(cache.entries().get(0).lastUse()).isAfter(before.plus(Duration.ofDays(2)));
    }

    /// Several stores of one folder, as in several processes, write, read, damage and prune the same
    /// few entries.
    @Test
    void manyAtOnceNeverSeeAWrongValue() throws Exception {
        try (ExecutorService workers = Executors.newFixedThreadPool(6)) {
            List<Future<?>> all = new ArrayList<>();
            for (int worker = 0; worker < 6; worker++) {
                int own = worker;
                all.add(workers.submit(() -> {
                    Cache cache = Cache.open(temporary.resolve("cache"), warning -> {});
                    for (int round = 0; round < 60; round++) {
                        int n = (round * 7 + own) % 5;
                        List<? extends Map<String, CachedTensor>> found =
                                cache.getOrCompute(List.of(key("" + n)), missing -> List.of(value(n, n + 1)));
                        assertThat(found.get(0)).isEqualTo(value(n, n + 1));
                        if (round % 20 == own) {
                            cache.prune(new Cache.PruneLimits(Set.of(), null, 0), Instant.now());
                        } else if (round % 10 == own) {
                            Files.writeString(cache.file(key("" + n)), "nonsense");
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> each : all) {
                each.get();
            }
        }
        try (Stream<Path> files = Files.walk(temporary)) {
            assertThat(files.filter(file -> file.toString().endsWith("partial")))
                    .isEmpty();
        }
    }

    @Test
    void anUnusableFolderIsReportedOnceAndTheValueIsStillReturned() throws IOException {
        Files.writeString(temporary.resolve("cache"), "a file where the folder should be");
        Cache cache = cache();
        for (String input : List.of("1", "2")) {
            assertThat(firsts(cache.getOrCompute(List.of(key(input)), missing -> List.of(value(7)))))
                    .containsExactly(7f);
        }
        assertThat(warnings).singleElement().asString().contains("cache", "without being cached");
    }

    private static PreparedImage prepared(String file, RgbImage pixels, boolean mirrored) {
        byte[] bytes = new Png(pixels, Map.of()).bytes();
        return new PreparedImage(
                EncodedImage.of(file, bytes),
                Digest.sha256(bytes),
                new ImagePlacement(pixels.width(), pixels.height(), 1, 0, 0, mirrored),
                Optional.empty());
    }

    /// The source of a fixed set of pairs.
    private PairSource pairs(String folder, int count) throws IOException {
        Path data = Files.createDirectories(temporary.resolve(folder));
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < count; i++) {
            for (int which = 0; which < 2; which++) {
                byte[] rgb = new byte[3 * 12 * 9];
                Arrays.fill(rgb, (byte) (2 * i + which));
                Files.write(data.resolve(i + "_" + which + ".png"), new Png(RgbImage.of(12, 9, rgb), Map.of()).bytes());
            }
            lines.append("{\"caption\": \"c\", \"label\": 0, \"image_0\": \"%d_0.png\", \"image_1\": \"%d_1.png\"}\n"
                    .formatted(i, i));
        }
        Files.writeString(data.resolve("pairs.jsonl"), lines);
        return PairSource.open(data);
    }

    /// Takes every pair once and returns the number of decoded images.
    private static long epoch(PairSource source, MomentCache moments, int number, List<RgbImage> encoded)
            throws IOException, InterruptedException {
        List<PairUse> uses = IntStream.range(0, source.size())
                .mapToObj(pair -> new PairUse(pair, number))
                .toList();
        PairDecoder decoder = new PairDecoder(new DecodeOptions(8, Crop.CENTRE, false, false, 0, 2), 1);
        PreparedBatch<PreparedPair> batch = decoder.prepare(source, uses, moments::contains);
        List<PreparedImage> images = new ArrayList<>();
        batch.pairs().forEach(pair -> images.addAll(List.of(pair.image0(), pair.image1())));
        moments.moments(images, missing -> {
            encoded.addAll(missing);
            return missing.stream()
                    .map(image -> new MomentCache.Moments(tensor(image.rgb()[0], 0), tensor(1, 2)))
                    .toList();
        });
        return images.stream().filter(image -> image.decoded().isPresent()).count();
    }

    @Test
    void aSecondEpochDecodesNothing() throws IOException, InterruptedException {
        List<RgbImage> encoded = new ArrayList<>();
        MomentCache moments = new MomentCache(cache(), "vae", "fp32");
        try (PairSource source = pairs("data", 5);
                PairSource copy = pairs("elsewhere", 5)) {
            assertThat(epoch(source, moments, 0, encoded)).isEqualTo(10);
            assertThat(encoded).hasSize(10);
            assertThat(epoch(source, moments, 1, encoded)).isZero();
            assertThat(epoch(copy, moments, 0, encoded))
                    .as("same bytes at another path")
                    .isZero();
            assertThat(encoded).hasSize(10);
            // Another VAE needs all pixels again.
            assertThat(epoch(source, new MomentCache(cache(), "other", "fp32"), 1, encoded))
                    .isEqualTo(10);
        }
    }

    @Test
    void momentsAreFoundByEncodedBytesAndPlacement() throws IOException {
        PreparedImage red = prepared("red.png", RgbImage.of(1, 2, new byte[] {1, 0, 0, 2, 0, 0}), false);
        PreparedImage wide = prepared("wide.png", RgbImage.of(2, 1, new byte[] {5, 0, 0, 2, 0, 0}), false);
        PreparedImage mirrored = prepared("red.png", RgbImage.of(1, 2, new byte[] {1, 0, 0, 2, 0, 0}), true);
        MomentCache moments = new MomentCache(cache(), "vae", "fp32");
        List<MomentCache.Moments> twice = new ArrayList<>();
        for (int round = 0; round < 2; round++) {
            int value = round;
            List<MomentCache.Moments> got = moments.moments(
                    List.of(red, wide, red),
                    missing -> missing.stream()
                            .map(image -> new MomentCache.Moments(tensor(image.rgb()[0], value), tensor(-1, -2)))
                            .toList());
            assertThat(got).hasSize(3);
            assertThat(got.get(0).mean().floats()).containsExactly(1, 0);
            assertThat(got.get(1).mean().floats()).containsExactly(5, 0);
            assertThat(got.get(2).logvar().floats()).containsExactly(-1, -2);
            twice.add(got.get(0));
        }
        assertThat(twice.get(0)).isEqualTo(twice.get(1));
        assertThatThrownBy(() -> new MomentCache.Moments(tensor(1, 2), CachedTensor.of(new float[2], 2L)))
                .hasMessageContaining("F32 [2, 1, 1] and F32 [2]");
        assertThat(moments.key(red)).isNotEqualTo(new MomentCache(cache(), "vae", "bf16").key(red));
        assertThat(moments.key(red)).isNotEqualTo(moments.key(wide)).isNotEqualTo(moments.key(mirrored));
        assertThat(moments.contains(red)).isTrue();
        assertThat(moments.contains(mirrored)).isFalse();
    }

    @Test
    void textEmbeddingsAreFoundByPrompt() throws IOException {
        TextCache texts = new TextCache(cache(), "clip", 1, "fp32");
        assertThat(texts.key("a")).isNotEqualTo(new TextCache(cache(), "clip", 2, "fp32").key("a"));
        for (int round = 0; round < 2; round++) {
            int value = round;
            List<TextCache.Embedding> got = texts.embeddings(
                    List.of("a", "", "a"),
                    missing -> missing.stream()
                            .map(prompt -> new TextCache.Embedding(
                                    tensor(prompt.length(), value),
                                    prompt.isEmpty() ? Optional.empty() : Optional.of(tensor(7, 8))))
                            .toList());
            assertThat(got.get(0).hidden().floats()).containsExactly(1, 0);
            assertThat(got.get(0).pooled()).hasValue(tensor(7, 8));
            assertThat(got.get(1).hidden().floats()).containsExactly(0, 0);
            assertThat(got.get(1).pooled()).isEmpty();
        }
        assertThat(cache().totals().keySet()).containsExactly("text-embeddings");
    }
}
