package org.smpo.cache;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.smpo.io.Digest;
import org.smpo.io.RgbImage;

/// What a reward model says about pictures of captions.
public final class ScoreCache {
    static final String KIND = "scores";

    private static final String SCORE = "score";

    private final Cache cache;
    private final String reward;
    private final String preprocessing;

    /// @param cache where they are kept
    /// @param reward digest of the reward model
    /// @param preprocessing of the pictures, and how the model computed, in words
    public ScoreCache(Cache cache, String reward, String preprocessing) {
        this.cache = cache;
        this.reward = reward;
        this.preprocessing = preprocessing;
    }

    /// Scores those that are not there.
    @FunctionalInterface
    public interface Scorer {
        /// Scores each picture with the caption at its place.
        double[] score(List<String> captions, List<RgbImage> pictures) throws IOException;
    }

    CacheKey key(String caption, RgbImage picture) {
        String input = Digest.sha256(caption.getBytes(StandardCharsets.UTF_8)) + "+" + Pictures.digest(picture);
        return new CacheKey(KIND, reward, input, preprocessing);
    }

    /// The score of each picture with the caption at its place.
    ///
    /// @throws IllegalArgumentException when there are not as many captions as pictures
    public double[] scores(List<String> captions, List<RgbImage> pictures, Scorer scorer) throws IOException {
        if (captions.size() != pictures.size()) {
            throw new IllegalArgumentException("scores: expected as many captions as pictures, got " + captions.size()
                    + " and " + pictures.size());
        }
        List<CacheKey> keys = new ArrayList<>();
        for (int i = 0; i < captions.size(); i++) {
            keys.add(key(captions.get(i), pictures.get(i)));
        }
        return cache
                .getOrCompute(keys, missing -> {
                    double[] computed = scorer.score(
                            missing.stream().map(captions::get).toList(),
                            missing.stream().map(pictures::get).toList());
                    List<Map<String, CachedTensor>> tensors = new ArrayList<>();
                    for (double score : computed) {
                        tensors.add(Map.of(SCORE, CachedTensor.of(new double[] {score})));
                    }
                    return tensors;
                })
                .stream()
                .mapToDouble(tensors -> tensors.get(SCORE).doubles()[0])
                .toArray();
    }
}
