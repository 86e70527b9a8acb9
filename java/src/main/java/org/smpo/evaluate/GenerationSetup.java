package org.smpo.evaluate;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.ImageRequest;
import org.smpo.io.Precision;
import org.smpo.network.Prompt;

/// How the images of an evaluation are generated, the same for all models.
///
/// @param config sampler, guidance and size; sides of 0: the resolution that the first model was trained at
/// @param batch number of images generated together. Sums round differently in another batch, so images may
///     differ by one level of 255: an evaluation keeps to one batch size, and every image has a fixed place
///     in its batch
/// @param device `cpu`, `cuda` or `cuda:N`
/// @param precision precision of the UNet
/// @param threads number of CPU threads; 0: one per physical core
public record GenerationSetup(GenerationConfig config, int batch, String device, Precision precision, int threads) {
    /// @throws IllegalArgumentException naming the value that is out of its range
    public GenerationSetup {
        Objects.requireNonNull(config, "config");
        if (batch < 1) {
            throw new IllegalArgumentException("batch: expected 1 or more, got " + batch);
        }
        if (!device.matches("cpu|cuda(:\\d{1,4})?")) {
            throw new IllegalArgumentException("device: expected cpu, cuda or cuda:N, got " + device);
        }
    }

    /// Returns the standard config in fp32 on the CPU, one image at a time.
    public static GenerationSetup standard() {
        return new GenerationSetup(GenerationConfig.standard(), 1, "cpu", Precision.FP32, 0);
    }

    /// Returns the same setup with another size.
    public GenerationSetup withSides(int width, int height) {
        return new GenerationSetup(config.withSize(width, height), batch, device, precision, threads);
    }

    ImageRequest request(List<Prompt> prompts) {
        return ImageRequest.of(prompts, config);
    }

    /// Returns everything that decides the images: the kind of the device, but neither its index nor the
    /// threads.
    Map<String, Object> identity() {
        Map<String, Object> all = new LinkedHashMap<>(config.asMap());
        all.put("batch", batch);
        all.put("device", device.replaceFirst(":.*", ""));
        all.put("precision", precision.id());
        return all;
    }
}
