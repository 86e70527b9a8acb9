package org.smpo.evaluate;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.smpo.generate.ImageRequest;
import org.smpo.generate.SamplerName;
import org.smpo.io.Precision;
import org.smpo.network.Prompt;

/// How the images of an evaluation are drawn, the same for all models.
///
/// @param height in pixels; 0: as the first model was trained
/// @param width likewise
/// @param steps of the sampler
/// @param sampler the rule
/// @param guidanceScale weight of the prompt; 1 or less: no guidance
/// @param guidanceRescale 0 to 1; 0: none
/// @param clipSkip further layers of the text encoders to leave out
/// @param vaeTile side of the tiles that the VAE decodes; 0: at once
/// @param batch images at once. Sums are rounded otherwise in another batch, so images may differ by one level of
///     255: an evaluation keeps to one batch, in which every image has its fixed place
/// @param device `cpu`, `cuda` or `cuda:N`
/// @param precision of the UNet
/// @param threads CPU threads; 0: one per physical core
public record Drawing(
        int height,
        int width,
        int steps,
        SamplerName sampler,
        double guidanceScale,
        double guidanceRescale,
        int clipSkip,
        int vaeTile,
        int batch,
        String device,
        Precision precision,
        int threads) {
    /// @throws IllegalArgumentException naming the value that is out of its range
    public Drawing {
        if (height < 0 || width < 0) {
            throw new IllegalArgumentException("sides: expected 0 or more, got " + width + "x" + height);
        }
        if (batch < 1) {
            throw new IllegalArgumentException("batch: expected 1 or more, got " + batch);
        }
        if (!device.matches("cpu|cuda(:\\d{1,4})?")) {
            throw new IllegalArgumentException("device: expected cpu, cuda or cuda:N, got " + device);
        }
    }

    /// 20 steps of DDIM with guidance 7.5 in fp32 on the CPU, at the model's own size.
    public static Drawing standard() {
        return new Drawing(0, 0, 20, SamplerName.DDIM, 7.5, 0, 0, 0, 1, "cpu", Precision.FP32, 0);
    }

    /// The same with sides.
    public Drawing withSides(int wide, int tall) {
        return new Drawing(
                tall,
                wide,
                steps,
                sampler,
                guidanceScale,
                guidanceRescale,
                clipSkip,
                vaeTile,
                batch,
                device,
                precision,
                threads);
    }

    ImageRequest request(List<Prompt> prompts) {
        return new ImageRequest(
                prompts, height, width, steps, sampler, guidanceScale, guidanceRescale, clipSkip, List.of(), vaeTile);
    }

    /// What decides the images: of the device its kind only, of the threads nothing.
    Map<String, Object> identity() {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("height", height);
        all.put("width", width);
        all.put("steps", steps);
        all.put("sampler", sampler.id());
        all.put("guidance_scale", guidanceScale);
        all.put("guidance_rescale", guidanceRescale);
        all.put("clip_skip", clipSkip);
        all.put("vae_tile", vaeTile);
        all.put("batch", batch);
        all.put("device", device.replaceFirst(":.*", ""));
        all.put("precision", precision.name().toLowerCase(Locale.ROOT));
        return all;
    }
}
