"""Golden results of Diffusion-KTO (arXiv 2404.04465) on five single images, by torch's autograd in fp64 on a tiny UNet.

    python tools/golden/kto_single.py   writes java/src/test/resources/org/smpo/train/kto/{kto.json,SHA256SUMS}

Pinned: torch 2.11.0, diffusers 0.42.1. Nothing of smpo is used here.

Each image has a timestep and noise of its own: row b of the item's normal numbers, as native/src/kernels/philox_normal.h
defines them, purpose 5, step 0, item 2 i for image i. The UNet is that of capo.py, its policy the reference here and the other way round; the inputs are
normal_like("kto." + NAME, shape): latents, prompt_embeds. With the gain g = r - l of each image, z0 = max(0, mean g) over
the five images, without gradient; an image costs 1 - sigmoid(y beta (g - z0)), y = 1 if it is desirable, else -1.

  errors [5][2] float64, policy and reference; z0; loss [5]; gradients as in capo.py

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

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/train/kto"
BETA = 3.0
TIMESTEPS = [51, 751, 301, 501, 120]
DESIRABLE = [1, 1, 0, 0, 1]


def step(dtype):
    policy, reference = unet_of(synthetic.tensor, dtype), unet_of(policy_weight, dtype).requires_grad_(False)
    alphas = alphas_cumprod()
    shape = (len(TIMESTEPS), 4, HEIGHT, WIDTH)
    clean = torch.from_numpy(synthetic.normal_like("kto.latents", shape)).to(dtype)
    words = torch.from_numpy(synthetic.normal_like("kto.prompt_embeds", (len(TIMESTEPS), 77, 12))).to(dtype)
    errors = []
    for i, t in enumerate(TIMESTEPS):
        noise = torch.from_numpy(normals(4 * HEIGHT * WIDTH, 2 * i).reshape(1, *shape[1:])).to(dtype)
        x = math.sqrt(alphas[t]) * clean[i : i + 1] + math.sqrt(1 - alphas[t]) * noise
        errors.append([(unet(x, t, words[i : i + 1]).sample - noise).square().mean() for unet in (policy, reference)])
    gains = torch.stack([reference_error - error for error, reference_error in errors])
    z0 = gains.mean().clamp(min=0).detach()
    sign = torch.tensor([1.0 if y else -1.0 for y in DESIRABLE], dtype=dtype)
    loss = 1 - torch.sigmoid(sign * BETA * (gains - z0))
    loss.mean().backward()
    return dict(
        errors=[[error.item() for error in pair] for pair in errors],
        z0=z0.item(),
        loss=loss.tolist(),
        gradients=summaries({n: p.grad for n, p in policy.named_parameters()}).tolist(),
    )


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    exact, single = step(torch.float64), step(torch.float32)
    off = {}
    for name in ("errors", "z0", "loss"):
        a, b = np.array(single[name]), np.array(exact[name])
        off[name] = float(f"{np.max(np.abs(a - b) / np.abs(b)):.2g}") if np.all(b != 0) else None
    # As the test compares: the norm, and the projections times the norm.
    ours, wanted = (np.array(found["gradients"]) for found in (single, exact))
    for table in (ours, wanted):
        table[:, 1:] *= table[:, :1]
    norms = np.maximum(wanted[:, 0], 1e-6 * np.sqrt((wanted[:, 0] ** 2).sum()))
    off["gradients"] = float(f"{(np.abs(ours - wanted) / norms[:, None]).max():.2g}")
    document = dict(
        made_by="tools/golden/kto_single.py",
        perturbation_bits=PERTURBATION_BITS,
        beta=BETA,
        timesteps=TIMESTEPS,
        desirable=DESIRABLE,
        height=HEIGHT,
        width=WIDTH,
        fp32_differs_by=off,
        **{name: exact[name] for name in ("errors", "z0", "loss")},
        gradients=[[float(f"{x:.9g}") for x in row] for row in exact["gradients"]],
    )
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in document.items()]
    (OUT / "kto.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    synthetic.write_sums(OUT)
    print(off, exact["loss"], exact["z0"], (OUT / "kto.json").stat().st_size)


if __name__ == "__main__":
    main()
