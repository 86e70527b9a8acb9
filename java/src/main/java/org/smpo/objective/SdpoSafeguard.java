package org.smpo.objective;

/// Diffusion-SDPO's safeguard, around any pair loss: scales the gradient of the image that is not favoured by a
/// λ in [0, 1] so that, to first order in output space, a step does not raise the favoured image's error.
///
/// With g and g' the gradients of the mean errors of the favoured and the other image in the predictions, λ =
/// clamp((1 − μ)‖g‖² / (g·g' + 1e-9), 0, 1) if g·g' > 0, else 1. The published code has one λ per micro-batch;
/// here there is one per pair. It assumes that the network's Jacobians of the two images agree. Source: arXiv
/// 2511.03317 and the authors' `train.py`, which has μ 0.9 for Stable Diffusion 1.5 and 0.6 for SDXL.
///
/// @param mu μ in [0, 1]: the share of the favoured image's decrease that is protected
public record SdpoSafeguard(double mu) {
    /// @throws InvalidParameterException when `mu` is out of its range
    public SdpoSafeguard {
        Require.unit("sdpo", "mu", mu);
    }
}
