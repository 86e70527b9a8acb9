package org.smpo.cache;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.smpo.io.RgbImage;

/// What a VAE's encoder says about pictures: mean and logarithmic variance, so that latents can still be sampled
/// anew in every step.
public final class MomentCache {
    static final String KIND = "vae-moments";

    private static final String MEAN = "mean";
    private static final String LOGVAR = "logvar";

    private final Cache cache;
    private final String vae;
    private final String computation;

    /// @param cache where they are kept
    /// @param vae digest of the VAE's weights and config
    /// @param computation how pixels were scaled and the VAE computed (precision, tiles), in words
    public MomentCache(Cache cache, String vae, String computation) {
        this.cache = cache;
        this.vae = vae;
        this.computation = computation;
    }

    /// The posterior of one picture.
    ///
    /// @param mean unscaled, float32 [channels, height, width]
    /// @param logvar of the same shape
    public record Moments(CachedTensor mean, CachedTensor logvar) {
        /// Checks the shapes.
        ///
        /// @throws IllegalArgumentException when they differ
        public Moments {
            if (mean.shape().size() != 3 || !mean.shape().equals(logvar.shape())) {
                throw new IllegalArgumentException(
                        "moments: expected two tensors [channels, height, width], got " + mean + " and " + logvar);
            }
        }
    }

    /// The key of one picture.
    ///
    /// @param picture as the VAE gets it: resized and cropped
    CacheKey key(RgbImage picture) {
        return new CacheKey(
                KIND, vae, Pictures.digest(picture), picture.width() + "x" + picture.height() + "; " + computation);
    }

    /// The posteriors of pictures.
    ///
    /// @param pictures resized and cropped
    /// @param encoder of those that are not there, all at once, in their order
    /// @return one per picture
    public List<Moments> moments(List<RgbImage> pictures, Function<List<RgbImage>, List<Moments>> encoder)
            throws IOException {
        return cache
                .getOrCompute(
                        pictures.stream().map(this::key).toList(),
                        missing -> encoder
                                .apply(missing.stream().map(pictures::get).toList())
                                .stream()
                                .map(moments -> Map.of(MEAN, moments.mean(), LOGVAR, moments.logvar()))
                                .toList())
                .stream()
                .map(tensors -> new Moments(tensors.get(MEAN), tensors.get(LOGVAR)))
                .toList();
    }
}
