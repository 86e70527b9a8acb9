"""Golden results of CaPO (arXiv 2502.02588): from scores to pairs, and one step on a tiny UNet by torch's autograd in fp64.

    python tools/golden/capo.py     writes java/src/test/resources/org/smpo/train/capo/{capo.json,SHA256SUMS}

Pinned: torch 2.11.0, diffusers 0.42.1. Nothing of smpo is used here.

The step has four pairs at two timesteps. Each image has noise of its own: row b of the item's normal numbers, as
native/src/kernels/philox_normal.h defines them, purpose 5, step 0, item 2 i for the winner of pair i and 2 i + 1 for its
loser. The UNet is that of native/test/golden/step/sd1.json, on latents of 6 x 5:

  reference weight NAME    tensor(NAME)
  policy weight NAME       tensor(NAME) + 2^-PERTURBATION_BITS * tensor("policy." + NAME), one-dimensional .weight: the
                           second term by the rule of biases; all in float32
  input NAME               normal_like("capo." + NAME, shape): latents_w, latents_l, prompt_embeds

  errors [4][4] float64, policy winner, policy loser, reference winner, reference loser; logit, loss [4];
  gradients [parameters][3]: of each parameter's gradient of the mean loss its L2 norm n and the projections
  sum_i gradient[i] s[i] / n, where s = uniform("projection0." + NAME, size) and "projection1."

fp32_differs_by: the same in torch's fp32, by the largest relative difference.
"groups": scores of groups, calibrated scores, fronts and pairs, with every definition written out as loops.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from schedule import SD15
from step_golden import FAMILIES, HEIGHT, WIDTH, summaries

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/train/capo"
PERTURBATION_BITS = 3
BETA, BIAS = 2.0, 1.5
TIMESTEPS = [51, 751, 751, 51]
MARGINS = [0.2, 0.45, -0.1, 0.05]
FORWARD_NOISE = 5


def normals(count, item):
    """Standard normal numbers of one item of the forward noise in step 0, float64."""
    return synthetic.normals(count, FORWARD_NOISE, 0, item)


def alphas_cumprod():
    """Stable Diffusion's schedule, scaled_linear as diffusers computes it, in float64."""
    betas = np.linspace(SD15["beta_start"] ** 0.5, SD15["beta_end"] ** 0.5, 1000) ** 2
    return np.cumprod(1 - betas)


def policy_weight(name, shape):
    difference = synthetic.tensor("policy." + name, shape)
    if len(shape) == 1 and name.endswith(".weight"):
        difference = np.float32(0.1) * synthetic.uniform("policy." + name, shape[0])
    return synthetic.tensor(name, shape) + np.float32(2.0**-PERTURBATION_BITS) * difference


def unet_of(rule, dtype):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(**FAMILIES["sd1"]).train()
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            parameter.copy_(torch.from_numpy(np.asarray(rule(name, tuple(parameter.shape)))))
    return unet.to(dtype)


def step(dtype):
    policy, reference = unet_of(policy_weight, dtype), unet_of(synthetic.tensor, dtype).requires_grad_(False)
    alphas = alphas_cumprod()
    shape = (len(TIMESTEPS), 4, HEIGHT, WIDTH)
    clean = [torch.from_numpy(synthetic.normal_like("capo." + name, shape)).to(dtype) for name in ("latents_w", "latents_l")]
    words = torch.from_numpy(synthetic.normal_like("capo.prompt_embeds", (len(TIMESTEPS), 77, 12))).to(dtype)
    out = dict(errors=[], logit=[], loss=[])
    for i, t in enumerate(TIMESTEPS):
        errors = {}
        for which in range(2):
            noise = torch.from_numpy(normals(4 * HEIGHT * WIDTH, 2 * i + which).reshape(1, *shape[1:])).to(dtype)
            x = math.sqrt(alphas[t]) * clean[which][i : i + 1] + math.sqrt(1 - alphas[t]) * noise
            for role, unet in dict(policy=policy, reference=reference).items():
                errors[role, which] = (unet(x, t, words[i : i + 1]).sample - noise).square().mean()
        weight = 1 / (1 + math.exp(-(BIAS - math.log(alphas[t] / (1 - alphas[t])))))
        gain = [errors["reference", which] - errors["policy", which] for which in range(2)]
        logit = BETA * weight * (gain[0] - gain[1])
        loss = (MARGINS[i] - logit) ** 2
        (loss / len(TIMESTEPS)).backward()
        out["errors"].append([errors[role, which].item() for role in ("policy", "reference") for which in range(2)])
        out["logit"].append(logit.item())
        out["loss"].append(loss.item())
    out["gradients"] = summaries({n: p.grad for n, p in policy.named_parameters()}).tolist()
    return out, {n: list(p.shape) for n, p in policy.named_parameters()}


def groups():
    """Fronts and pairs of groups, as loops over the definitions."""
    made = []
    for number, (images, rewards) in enumerate([(5, 2), (16, 3), (4, 1), (8, 2)]):
        scores = np.round(3 * synthetic.uniform(f"capo.group{number}", images * rewards).reshape(images, rewards).astype(float), 1)
        calibrated = np.zeros((images, rewards))
        for i in range(images):
            for j in range(rewards):
                calibrated[i, j] = np.mean([1 / (1 + math.exp(scores[k, j] - scores[i, j])) for k in range(images) if k != i])
        dominates = lambda i, k: all(scores[i] >= scores[k]) and any(scores[i] > scores[k])  # noqa: E731
        upper = [i for i in range(images) if not any(dominates(k, i) for k in range(images))]
        lower = [i for i in range(images) if not any(dominates(i, k) for k in range(images))]
        mean = calibrated.mean(axis=1)
        pairs = [
            [i, k] for i in upper for k in lower if i not in lower and k not in upper and mean[i] > mean[k]
        ]
        made.append(dict(scores=scores.tolist(), calibrated=calibrated.tolist(), upper=upper, lower=lower, pairs=pairs))
    return made


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    exact, parameters = step(torch.float64)
    single, _ = step(torch.float32)
    off = {}
    for name in ("errors", "logit", "loss"):
        a, b = np.array(single[name]), np.array(exact[name])
        off[name] = float(f"{np.max(np.abs(a - b) / np.abs(b)):.2g}")
    norms = np.array(exact["gradients"])[:, 0]
    whole = np.sqrt((norms**2).sum())
    difference = np.abs(np.array(single["gradients"])[:, 0] - norms) / np.maximum(norms, 1e-6 * whole)
    off["gradients"] = float(f"{difference.max():.2g}")
    document = dict(
        made_by="tools/golden/capo.py",
        perturbation_bits=PERTURBATION_BITS,
        beta=BETA,
        bias=BIAS,
        timesteps=TIMESTEPS,
        margins=MARGINS,
        height=HEIGHT,
        width=WIDTH,
        fp32_differs_by=off,
        **{name: exact[name] for name in ("errors", "logit", "loss")},
        gradients=[[float(f"{x:.9g}") for x in row] for row in exact["gradients"]],
        groups=groups(),
    )
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in document.items()]
    (OUT / "capo.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    synthetic.write_sums(OUT)
    print(off, exact["loss"], exact["logit"], (OUT / "capo.json").stat().st_size)


if __name__ == "__main__":
    main()
