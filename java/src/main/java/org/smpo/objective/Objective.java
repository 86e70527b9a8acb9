package org.smpo.objective;

import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;

/// A preference objective: the loss of a pair of images with its parameters, and what a trainer must
/// provide for it.
///
/// An objective never reaches into the trainer. It states where noise comes from ([#noise]), whether a
/// reference model runs ([#needsReference]), whether each image has a timestep of its own
/// ([#timestepPerImage]), which numbers it reads ([#inputs]) and which image it favours ([#favours]);
/// the trainer provides them. The native kernel computes the loss
/// (`native/src/kernels/preference_loss.h`); `smpo.h` lists the formulas by [#kind].
///
/// Formulas: ℓ_w and ℓ_l are the policy's mean squared errors on winner and loser, r_w and r_l the
/// reference's, Δ = (ℓ_w − ℓ_l) − (r_w − r_l), and u = −κβΔ is the logit. `beta` is always in units of
/// the mean error (the "code beta" of the published scripts), where papers sum over the elements of a
/// latent. The factor `kappa` (½ in the Salesforce family of scripts, 1 in diffusers') stands beside
/// it: the same beta with another kappa is another strength.
///
/// Every constructor throws an [InvalidParameterException] naming a parameter that is out of its range.
///
/// To add a method, add a record here, its constant in `smpo.h`, and its formula in `pair_loss_math.h`
/// and the reference kernel.
public sealed interface Objective {
    /// Short name of the method in recipes and messages, such as `smpo`.
    default String name() {
        return Method.nameOf(getClass());
    }

    /// The parameters by their keys in a recipe, in the order of the record.
    default Map<String, Double> values() {
        return Method.valuesOf(this);
    }

    /// Number of the loss in `smpo.h`.
    default int kind() {
        return getClass().getAnnotation(MethodInfo.class).kind();
    }

    /// κβ, the factor of −Δ in the logit at logit scale 1; 0 for an objective without a reference.
    double strength();

    /// The parameters that the loss has beside its strength, in the order of `smpo.h`.
    default double[] parameters() {
        return new double[0];
    }

    /// Source of noised latents and targets.
    default NoiseSource noise() {
        return NoiseSource.FORWARD_SHARED;
    }

    /// Whether each image has a timestep of its own, not the pair.
    default boolean timestepPerImage() {
        return false;
    }

    /// Factor of the noise added after each inversion step; 0 unless [#noise] is
    /// [NoiseSource#INVERSION].
    default double inversionEta() {
        return 0;
    }

    /// The numbers that the loss reads beside the errors.
    default Set<PairInput> inputs() {
        return Set.of();
    }

    /// Whether r_w and r_l enter the loss. Without, no reference forward runs.
    default boolean needsReference() {
        return true;
    }

    /// Whether the loss compares the two images, so that there is a logit and the loser has a gradient.
    default boolean hasLogit() {
        return true;
    }

    /// The image whose error training lowers.
    default PairImage favours() {
        return PairImage.WINNER;
    }

    /// Sensitivity γ, the factor of the margin 2p − 1 of a smoothed label in the logit; empty for an
    /// objective that reads no label.
    default OptionalDouble labelScale() {
        return OptionalDouble.empty();
    }

    /// The logit scale ω_t of a timestep with the given cumulative product of alphas in (0, 1).
    default double logitScale(double alphaCumprod) {
        Require.openUnit(name(), "alpha_cumprod", alphaCumprod);
        return 1;
    }

    /// SmPO-Diffusion: the pair loss with a smoothed label. An undecided pair (p = ½) has the loss log
    /// 2 and no gradient: the label scales the logit, it is not label smoothing. Published: β 2000 for
    /// Stable Diffusion 1.5 and 5000 for SDXL, γ 10; the authors' `train.py` has the extra κ = ½.
    @MethodInfo(kind = 2, title = "SmPO-Diffusion", arxiv = "2506.02698", loss = "softplus(−u), u = −κβγ(2p − 1)Δ")
    record Smpo(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Sensitivity to the label", byDefault = 10)
            double gamma,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa)
            implements Objective {
        public Smpo {
            Require.positive("smpo", "beta", beta);
            Require.positive("smpo", "gamma", gamma);
            Require.positive("smpo", "kappa", kappa);
        }

        @Override
        public double strength() {
            return kappa * beta;
        }

        @Override
        public double[] parameters() {
            return new double[] {gamma};
        }

        @Override
        public NoiseSource noise() {
            return NoiseSource.INVERSION;
        }

        @Override
        public Set<PairInput> inputs() {
            return Set.of(PairInput.LABEL);
        }

        @Override
        public OptionalDouble labelScale() {
            return OptionalDouble.of(gamma);
        }
    }

    /// Diffusion-DPO, equation 14. The authors' launchers have β 5000 and κ ½ for Stable Diffusion 1.5
    /// and SDXL; the paper's main run on 1.5 has β 2000; diffusers' research script has κ 1.
    @MethodInfo(kind = 1, title = "Diffusion-DPO", arxiv = "2311.12908", loss = "softplus(−u), u = −κβΔ")
    record Dpo(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa)
            implements Objective {
        public Dpo {
            Require.strength("dpo", beta, kappa);
        }

        @Override
        public double strength() {
            return kappa * beta;
        }
    }

    /// DDIM-InPO: Diffusion-DPO's loss on latents noised by inversion. Published: β 2000 for Stable
    /// Diffusion 1.5 and 5000 for SDXL, κ ½, η 0.1.
    @MethodInfo(kind = 1, title = "DDIM-InPO", arxiv = "2503.18454", loss = "softplus(−u), u = −κβΔ")
    record Inpo(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa,

            @ParameterInfo(value = "Factor of the noise added after each inversion step", byDefault = 0.1)
            double eta)
            implements Objective {
        public Inpo {
            Require.strength("inpo", beta, kappa);
            Require.nonNegative("inpo", "eta", eta);
        }

        @Override
        public double strength() {
            return kappa * beta;
        }

        @Override
        public NoiseSource noise() {
            return NoiseSource.INVERSION;
        }

        @Override
        public double inversionEta() {
            return eta;
        }
    }

    /// DMPO: the reverse Kullback-Leibler form of the pair problem. The loss is 0 at u = log((1 − α)/α)
    /// and its gradient reverses beyond; it also vanishes for very badly ordered pairs. Published with
    /// Diffusion-SDPO's `train.py`: β 2000 for Stable Diffusion 1.5 and 6000 for SDXL, κ ½, α 0.01.
    @MethodInfo(
            kind = 4,
            title = "DMPO",
            arxiv = "2507.07510",
            loss = "KL(Bernoulli(σ(u)) ‖ Bernoulli(1 − α)), u = −κβΔ")
    record Dmpo(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa,

            @ParameterInfo(value = "Probability in the target that the loser is better", byDefault = 0.01)
            double alpha)
            implements Objective {
        /// The published code clamps alpha to this distance from 0 and 1; here a value outside is an
        /// error.
        private static final double SMALLEST_ALPHA = 1e-6;

        public Dmpo {
            Require.strength("dmpo", beta, kappa);
            if (!(alpha >= SMALLEST_ALPHA && alpha <= 1 - SMALLEST_ALPHA)) {
                throw Require.outside("dmpo", "alpha", "a number in [1e-6, 1 - 1e-6]", alpha);
            }
        }

        @Override
        public double strength() {
            return kappa * beta;
        }

        @Override
        public double[] parameters() {
            return new double[] {alpha};
        }
    }

    /// IPO: a squared loss that pulls the logit to a margin, carried over to mean errors. No setting
    /// for diffusion models is published.
    @MethodInfo(kind = 5, title = "IPO", arxiv = "2310.12036", loss = "(u − margin)², u = −κβΔ")
    record Ipo(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa,

            @ParameterInfo(value = "Logit at which the loss is 0", byDefault = 0.5)
            double margin)
            implements Objective {
        public Ipo {
            Require.strength("ipo", beta, kappa);
            Require.finite("ipo", "margin", margin);
        }

        @Override
        public double strength() {
            return kappa * beta;
        }

        @Override
        public double[] parameters() {
            return new double[] {margin};
        }
    }

    /// Supervised fine-tuning on winners. Losers and the reference take no part.
    @MethodInfo(kind = 9, title = "SFT", arxiv = "", loss = "ℓ_w")
    record Sft() implements Objective {
        @Override
        public double strength() {
            return 0;
        }

        @Override
        public boolean needsReference() {
            return false;
        }

        @Override
        public boolean hasLogit() {
            return false;
        }
    }

    /// Hinge: the pair loss of a margin classifier, which leaves a pair alone once its logit is 1.
    /// TRL's and diffusers' DPO scripts offer it as `loss_type` hinge, after SLiC-HF for language
    /// models; β is theirs with κ 1.
    @MethodInfo(kind = 10, title = "Hinge (SLiC)", arxiv = "2305.10425", loss = "max(0, 1 − u), u = −κβΔ")
    record Hinge(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa)
            implements Objective {
        public Hinge {
            Require.strength("hinge", beta, kappa);
        }

        @Override
        public double strength() {
            return kappa * beta;
        }
    }

    /// Robust DPO: the pair loss made unbiased under labels of which a share ε is swapped. TRL offers
    /// it as `loss_type` robust with `label_smoothing` ε; ε = 0 is DPO. The loss has no lower bound.
    @MethodInfo(
            kind = 11,
            title = "Robust DPO",
            arxiv = "2403.00409",
            loss = "((1 − ε) softplus(−u) − ε softplus(u)) / (1 − 2ε), u = −κβΔ")
    record Robust(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa,

            @ParameterInfo(value = "Share of swapped labels", byDefault = 0.1)
            double epsilon)
            implements Objective {
        public Robust {
            Require.strength("robust", beta, kappa);
            if (!(epsilon >= 0 && epsilon < 0.5)) {
                throw Require.outside("robust", "epsilon", "a number in [0, 0.5)", epsilon);
            }
        }

        @Override
        public double strength() {
            return kappa * beta;
        }

        @Override
        public double[] parameters() {
            return new double[] {epsilon};
        }
    }

    /// Diffusion-NPO: the pair loss with winner and loser exchanged, which trains the negative branch
    /// of guidance. The logit is that of preferring the winner, as everywhere; training lowers it. The
    /// authors' scripts have β 500, κ 1 for Stable Diffusion 1.5 and β 2000, κ ½ for SDXL.
    @MethodInfo(kind = 3, title = "Diffusion-NPO", arxiv = "2505.11245", loss = "softplus(u), u = −κβΔ")
    record Npo(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Factor of beta", byDefault = 0.5)
            double kappa)
            implements Objective {
        public Npo {
            Require.strength("npo", beta, kappa);
        }

        @Override
        public double strength() {
            return kappa * beta;
        }

        @Override
        public PairImage favours() {
            return PairImage.LOSER;
        }
    }

    /// Diffusion-KTO, equation 8: a utility of each image by itself. With the gain g = r − ℓ and the
    /// batch's mean gain z0 (no gradient), an image costs λ(1 − σ(±β(g − z0))), with + for a winner and
    /// − for a loser. A pair's loss is the mean of the two. The paper has β 5000 and both weights 1 for
    /// Stable Diffusion 1.5.
    @MethodInfo(
            kind = 7,
            title = "Diffusion-KTO",
            arxiv = "2404.04465",
            loss = "mean over both images of λ(1 − σ(±β(r − ℓ − z0)))")
    record Kto(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo(value = "Weight of winners", byDefault = 1)
            double desirableWeight,

            @ParameterInfo(value = "Weight of losers", byDefault = 1)
            double undesirableWeight)
            implements Objective {
        public Kto {
            Require.positive("kto", "beta", beta);
            Require.nonNegative("kto", "desirable weight", desirableWeight);
            Require.nonNegative("kto", "undesirable weight", undesirableWeight);
        }

        @Override
        public double strength() {
            return beta;
        }

        @Override
        public double[] parameters() {
            return new double[] {desirableWeight, undesirableWeight};
        }

        @Override
        public NoiseSource noise() {
            return NoiseSource.FORWARD_PER_IMAGE;
        }

        @Override
        public boolean timestepPerImage() {
            return true;
        }

        @Override
        public Set<PairInput> inputs() {
            return Set.of(PairInput.MEAN_GAIN);
        }
    }

    /// MaPO: reference-free. Published for SDXL: s 0.5 (`snr_value` in the authors' `utils.py`), T
    /// 1000, b 0.1.
    @MethodInfo(
            kind = 8,
            title = "MaPO",
            arxiv = "2406.06424",
            loss = "ℓ_w + b softplus(−T(φ(ℓ_w) − φ(ℓ_l))), φ(x) = sx / (e^{sx} − 1)")
    record Mapo(
            @ParameterInfo(value = "Curvature s of φ", byDefault = 0.5)
            double scale,

            @ParameterInfo(value = "Temperature T", byDefault = 1000)
            double temperature,

            @ParameterInfo(value = "Weight b of the preference term", byDefault = 0.1)
            double weight)
            implements Objective {
        public Mapo {
            Require.positive("mapo", "scale", scale);
            Require.positive("mapo", "temperature", temperature);
            Require.nonNegative("mapo", "weight", weight);
        }

        @Override
        public double strength() {
            return 0;
        }

        @Override
        public double[] parameters() {
            return new double[] {scale, temperature, weight};
        }

        @Override
        public boolean needsReference() {
            return false;
        }
    }

    /// CaPO: a squared loss with a margin per pair, the difference ΔR of calibrated rewards. The weight
    /// of a timestep is ω_t = σ(bias − log SNR); a bias of +∞ weighs all timesteps 1. As described in
    /// two independent notes: no code and no values of β and bias are published.
    @MethodInfo(kind = 6, title = "CaPO", arxiv = "2502.02588", loss = "(ΔR − u)², u = −βω_tΔ")
    record Capo(
            @ParameterInfo("Strength in units of the mean error")
            double beta,

            @ParameterInfo("Bias of the weight of a timestep")
            double bias)
            implements Objective {
        public Capo {
            Require.positive("capo", "beta", beta);
            if (bias != Double.POSITIVE_INFINITY) {
                Require.finite("capo", "bias", bias);
            }
        }

        @Override
        public double strength() {
            return beta;
        }

        @Override
        public NoiseSource noise() {
            return NoiseSource.FORWARD_PER_IMAGE;
        }

        @Override
        public Set<PairInput> inputs() {
            return Set.of(PairInput.REWARD_MARGIN);
        }

        @Override
        public double logitScale(double alphaCumprod) {
            Require.openUnit("capo", "alpha_cumprod", alphaCumprod);
            double logSnr = Math.log(alphaCumprod) - Math.log1p(-alphaCumprod);
            return Logistic.sigmoid(bias - logSnr);
        }
    }
}
