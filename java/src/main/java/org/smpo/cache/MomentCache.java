package org.smpo.cache;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.smpo.data.PreparedImage;
import org.smpo.io.RgbImage;

/// Cache of the VAE's posteriors (mean and log variance), from which every step samples new latents.
///
/// An entry is found by the image's encoded bytes and its placement, so an image whose posterior is cached
/// is never decoded. Versions before this one used a digest of the pixels; their entries are no longer found
/// and can be removed with `smpo cache prune`.
public final class MomentCache {
    static final String KIND = "vae-moments";

    private static final String MEAN = "mean";
    private static final String LOGVAR = "logvar";

    private final Cache cache;
    private final String vae;
    private final String computation;

    /// @param cache store of the entries
    /// @param vae digest of the VAE's weights and config
    /// @param computation how pixels were scaled and the VAE was run (precision, tiles), in words
    public MomentCache(Cache cache, String vae, String computation) {
        this.cache = cache;
        this.vae = vae;
        this.computation = computation;
    }

    /// The posterior of one image.
    ///
    /// @param mean unscaled mean, float32 [channels, height, width]
    /// @param logvar log variance of the same shape
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

    CacheKey key(PreparedImage image) {
        return new CacheKey(KIND, vae, image.sha256(), image.transformation() + "; " + computation);
    }

    /// Whether there is an entry for an image; it may still turn out to be damaged. Safe for use from any
    /// thread.
    public boolean contains(PreparedImage image) {
        return cache.contains(key(image));
    }

    /// Returns the posteriors of images.
    ///
    /// @param encoder computes the posteriors that are missing, all at once, in order
    /// @return one per image
    /// @throws IOException when the cache cannot be read, or an image without an entry cannot be decoded
    public List<Moments> moments(List<PreparedImage> images, Function<List<RgbImage>, List<Moments>> encoder)
            throws IOException {
        return cache
                .getOrCompute(images.stream().map(this::key).toList(), missing -> {
                    List<RgbImage> pixels = new ArrayList<>();
                    for (int image : missing) {
                        pixels.add(images.get(image).pixels());
                    }
                    return encoder.apply(pixels).stream()
                            .map(moments -> Map.of(MEAN, moments.mean(), LOGVAR, moments.logvar()))
                            .toList();
                })
                .stream()
                .map(tensors -> new Moments(tensors.get(MEAN), tensors.get(LOGVAR)))
                .toList();
    }
}
