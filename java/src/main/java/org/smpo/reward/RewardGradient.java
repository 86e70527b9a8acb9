package org.smpo.reward;

import java.util.List;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.InputGradients;
import org.smpo.ffi.UNetInputs;
import org.smpo.network.UNet;
import org.smpo.network.Vae;

/// The gradient of a reward with respect to latents: through the VAE's decoder, the preprocessing and the
/// vision tower, and on request through the UNet. No gradient of a parameter is computed or changed.
///
/// Latents are scaled as the UNet takes them. Belongs to the thread of its networks, which stay the caller's.
public final class RewardGradient {
    private final DifferentiableReward reward;
    private final Vae vae;

    /// A chain of networks on one engine.
    public RewardGradient(DifferentiableReward reward, Vae vae) {
        this.reward = reward;
        this.vae = vae;
    }

    /// Scores and their gradient.
    ///
    /// @param scores score of each image
    /// @param gradient gradient of the sum of all scores with respect to the latents, row-major, of their
    ///     shape: each image decides its own score alone
    @SuppressWarnings("ArrayRecordComponent") // a result, never compared
    public record Result(double[] scores, float[] gradient) {}

    /// How clean latents follow from a sample and the guided prediction of a UNet:
    /// `clean = sample x + output (n + guidance (p - n))`, with the prediction `p` for the prompt and `n` for the
    /// negative prompt. For epsilon prediction, `sample` is 1 / alpha and `output` is -sigma / alpha.
    ///
    /// @param prompt inputs with the prompt
    /// @param negative inputs with the negative prompt and the same sample; null with guidance 1
    /// @param guidance guidance scale; 1: the prediction for the prompt alone
    /// @param sample coefficient of the sample
    /// @param output coefficient of the prediction
    public record Prediction(UNetInputs prompt, UNetInputs negative, double guidance, double sample, double output) {
        public Prediction {
            if ((negative == null) != (guidance == 1)) {
                throw new IllegalArgumentException(
                        "guidance " + guidance + ": expected a negative prompt unless it is 1, "
                                + (negative == null ? "got none" : "got one"));
            }
        }
    }

    /// Scores the images of clean latents and differentiates the scores by them.
    ///
    /// @param captions captions, as many as images
    /// @param clean latents `[B,latent_channels,h,w]`
    public Result ofClean(List<String> captions, DeviceTensor clean) {
        return ofClean(captions, clean.engine(), clean.toFloats(), clean.shape());
    }

    private Result ofClean(List<String> captions, Engine engine, float[] clean, long[] shape) {
        double scale = vae.config().scalingFactor();
        float[] unscaled = new float[clean.length];
        for (int i = 0; i < clean.length; i++) {
            unscaled[i] = (float) (clean[i] / scale);
        }
        try (DeviceTensor latents = engine.fromHost(unscaled, shape);
                DeviceTensor pixels = vae.decode(latents, 0);
                DifferentiableReward.PixelGradient scored = reward.scorePixels(captions, pixels);
                DeviceTensor byLatents = vae.decodeBackward(latents, scored.gradient())) {
            float[] gradient = byLatents.toFloats();
            for (int i = 0; i < gradient.length; i++) {
                gradient[i] = (float) (gradient[i] / scale);
            }
            return new Result(scored.scores(), gradient);
        }
    }

    /// Scores the images of the clean latents that a UNet predicts from a sample, and differentiates the
    /// scores by the sample.
    ///
    /// @param throughUNet whether the gradient includes the dependence of the prediction on the sample, which
    ///     takes a backward pass of the UNet for each side of guidance
    public Result ofSample(List<String> captions, UNet unet, Prediction prediction, boolean throughUNet) {
        DeviceTensor input = prediction.prompt().sample();
        Engine engine = input.engine();
        float[] sample = input.toFloats();
        float[] clean = predicted(unet, prediction.prompt());
        if (prediction.negative() != null) {
            float[] negative = predicted(unet, prediction.negative());
            for (int i = 0; i < clean.length; i++) {
                clean[i] = (float) (negative[i] + prediction.guidance() * ((double) clean[i] - negative[i]));
            }
        }
        for (int i = 0; i < clean.length; i++) {
            clean[i] = (float) (prediction.sample() * sample[i] + prediction.output() * clean[i]);
        }
        Result result = ofClean(captions, engine, clean, input.shape());
        float[] byClean = result.gradient();
        double[] sum = new double[byClean.length];
        for (int i = 0; i < sum.length; i++) {
            sum[i] = prediction.sample() * byClean[i];
        }
        if (throughUNet) {
            add(unet, prediction.prompt(), prediction.output() * prediction.guidance(), byClean, sum);
            if (prediction.negative() != null) {
                add(unet, prediction.negative(), prediction.output() * (1 - prediction.guidance()), byClean, sum);
            }
        }
        float[] gradient = new float[sum.length];
        for (int i = 0; i < sum.length; i++) {
            gradient[i] = (float) sum[i];
        }
        return new Result(result.scores(), gradient);
    }

    private static float[] predicted(UNet unet, UNetInputs inputs) {
        try (DeviceTensor output = unet.network().forward(inputs)) {
            return output.toFloats();
        }
    }

    private static void add(UNet unet, UNetInputs inputs, double factor, float[] byClean, double[] sum) {
        float[] scaled = new float[byClean.length];
        for (int i = 0; i < scaled.length; i++) {
            scaled[i] = (float) (factor * byClean[i]);
        }
        DeviceTensor sample = inputs.sample();
        try (DeviceTensor cotangent = sample.engine().fromHost(scaled, sample.shape());
                DeviceTensor bySample = InputGradients.ofUNet(unet.network(), inputs, cotangent)) {
            float[] gradient = bySample.toFloats();
            for (int i = 0; i < sum.length; i++) {
                sum[i] += gradient[i];
            }
        }
    }
}
