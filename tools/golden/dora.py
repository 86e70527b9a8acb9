"""Golden results of DoRA (arXiv 2504.05831): one step on a tiny UNet by torch's autograd in fp64, over a whole batch.

    python tools/golden/dora.py     writes java/src/test/resources/org/smpo/train/dora/{dora.json,SHA256SUMS}

Pinned: torch 2.11.0, diffusers 0.42.1. Nothing of smpo is used here.

Weights and inputs come from their names as in tools/golden/capo.py, with the prefix "dora." of the inputs. All pairs have
the same timestep; both images of pair i have the noise of item 2 i. The loss of a pair is Diffusion-DPO's,
l_i = softplus(kappa beta ((w - l) - (ref_w - ref_l))), that of the batch L = lambda log mean_i exp(ratio_i l_i / lambda).

  errors [4][4], loss [4], value L; factors: dL/dl_i by autograd
  gradients [parameters][3] of L, as in capo.py

fp32_differs_by: the same in torch's fp32, by the largest relative difference.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from capo import PERTURBATION_BITS, alphas_cumprod, normals, policy_weight, unet_of
from step_golden import HEIGHT, WIDTH, summaries

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/train/dora"
BETA, KAPPA, LAMBDA = 6.0, 0.5, 0.5
TIMESTEP = 401
RATIOS = [1.2, 0.7, 1.1, 0.3]


def step(dtype):
    policy, reference = unet_of(policy_weight, dtype), unet_of(synthetic.tensor, dtype).requires_grad_(False)
    # scaled_linear as diffusers computes it, in float64.
    alpha = alphas_cumprod()[TIMESTEP]
    shape = (len(RATIOS), 4, HEIGHT, WIDTH)
    clean = [torch.from_numpy(synthetic.normal_like("dora." + name, shape)).to(dtype) for name in ("latents_w", "latents_l")]
    words = torch.from_numpy(synthetic.normal_like("dora.prompt_embeds", (len(RATIOS), 77, 12))).to(dtype)
    errors, losses = [], []
    for i in range(len(RATIOS)):
        noise = torch.from_numpy(normals(4 * HEIGHT * WIDTH, 2 * i).reshape(1, *shape[1:])).to(dtype)
        found = [
            (unet(math.sqrt(alpha) * x[i : i + 1] + math.sqrt(1 - alpha) * noise, TIMESTEP, words[i : i + 1]).sample - noise)
            .square()
            .mean()
            for unet in (policy, reference)
            for x in clean
        ]
        winner, loser, reference_winner, reference_loser = found
        losses.append(
            torch.nn.functional.softplus(KAPPA * BETA * ((winner - loser) - (reference_winner - reference_loser)))
        )
        errors.append([e.item() for e in found])
    loss = torch.stack(losses)
    loss.retain_grad()
    h = torch.tensor(RATIOS, dtype=dtype)
    value = LAMBDA * torch.log(torch.mean(torch.exp(h * loss / LAMBDA)))
    value.backward()
    return dict(
        errors=errors,
        loss=loss.tolist(),
        value=value.item(),
        factors=loss.grad.tolist(),
        gradients=summaries({n: p.grad for n, p in policy.named_parameters()}).tolist(),
    )


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    exact, single = step(torch.float64), step(torch.float32)
    off = {}
    for name in ("errors", "loss", "value", "factors"):
        a, b = np.array(single[name]), np.array(exact[name])
        off[name] = float(f"{np.max(np.abs(a - b) / np.abs(b)):.2g}")
    norms = np.array(exact["gradients"])[:, 0]
    difference = np.abs(np.array(single["gradients"])[:, 0] - norms) / np.maximum(norms, 1e-6 * np.sqrt((norms**2).sum()))
    off["gradients"] = float(f"{difference.max():.2g}")
    document = dict(
        made_by="tools/golden/dora.py",
        perturbation_bits=PERTURBATION_BITS,
        beta=BETA,
        kappa=KAPPA,
        **{"lambda": LAMBDA},
        timestep=TIMESTEP,
        ratios=RATIOS,
        height=HEIGHT,
        width=WIDTH,
        fp32_differs_by=off,
        **{name: exact[name] for name in ("errors", "loss", "value", "factors")},
        gradients=[[float(f"{x:.9g}") for x in row] for row in exact["gradients"]],
    )
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in document.items()]
    (OUT / "dora.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    synthetic.write_sums(OUT)
    print(off, exact["loss"], exact["value"], exact["factors"])


if __name__ == "__main__":
    main()
