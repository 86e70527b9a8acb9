"""Golden trajectories with candidates: SPO's sampling loop on a tiny UNet in fp64.

    python tools/golden/rollout.py     writes java/src/test/resources/org/smpo/train/spo/
                                       {rollout.json, rollout.safetensors, SHA256SUMS}

Pinned: torch 2.12.1, diffusers 0.42.1. Nothing of smpo is used here. As in the authors' multi_sample_pipeline.py
(github.com/RockeyCoss/SPO at 27a8642): DDIM with eta 1 and guidance; every step has two candidates for each image, whose
clean latents are predicted with guidance at the next timestep, or are the candidates themselves at the last step. Here the
reward is minus the clean latents' square, and the better candidate is continued.

The UNet is the reference of capo.py. Inputs: normal_like("rollout." + NAME, shape): latents [2, 4, 6, 5], prompt_embeds,
negative_prompt_embeds. The noise of candidate k of image b at step i is the normal numbers of
native/src/kernels/philox_normal.h with seed 0, purpose 8, step i and item 64 b + k.

rollout.json, per prediction type: chosen [steps][images].
rollout.safetensors: TYPE.latents [steps, 2, 4, 6, 5] after each step, TYPE.clean [steps, 4, 4, 6, 5] of candidate k of image
b at 2 k + b.
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import capo
import synthetic
from spo_step import OUT, guided, mean_and_deviation
from step_golden import HEIGHT, WIDTH

STEPS, IMAGES, CANDIDATES = 4, 2, 2
STRIDE = 1000 // STEPS
TIMESTEPS = [1 + STRIDE * (STEPS - 1 - i) for i in range(STEPS)]
SHAPE = (IMAGES, 4, HEIGHT, WIDTH)


def value(name, shape):
    return torch.from_numpy(synthetic.normal_like("rollout." + name, shape)).double()


def run(kind):
    unet = capo.unet_of(synthetic.tensor, torch.float64)
    x = value("latents", SHAPE)
    words, empty = (value(name, (IMAGES, 77, 12)) for name in ("prompt_embeds", "negative_prompt_embeds"))
    latents, cleans, chosen = [], [], []
    for i, t in enumerate(TIMESTEPS):
        mean, deviation, _ = mean_and_deviation(x, guided(unet, x, t, words, empty), t, STRIDE, kind)
        candidates, clean = [], []
        for k in range(CANDIDATES):
            rows = [synthetic.normals(int(np.prod(SHAPE[1:])), 8, i, 64 * b + k) for b in range(IMAGES)]
            candidate = mean + deviation * torch.from_numpy(np.stack(rows).reshape(SHAPE))
            candidates.append(candidate)
            if i + 1 == STEPS:
                clean.append(candidate)
            else:
                after = TIMESTEPS[i + 1]
                output = guided(unet, candidate, after, words, empty)
                clean.append(mean_and_deviation(candidate, output, after, STRIDE, kind)[2])
        rewards = torch.stack([-c.square().sum((1, 2, 3)) for c in clean])
        best = rewards.argmax(0).tolist()
        x = torch.stack([candidates[k][b] for b, k in enumerate(best)])
        chosen.append(best)
        latents.append(x)
        cleans.append(torch.cat(clean))
    return chosen, torch.stack(latents), torch.stack(cleans)


def main():
    versions = (torch.__version__.split("+")[0], diffusers.__version__)
    assert versions == ("2.12.1", "0.42.1"), versions
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    document, tensors = dict(made_by="tools/golden/rollout.py", steps=STEPS), {}
    for kind in ("epsilon", "v_prediction"):
        with torch.no_grad():
            chosen, latents, clean = run(kind)
        print(kind, chosen, latents.std().item())
        # Both candidates win somewhere, or the choice would not be seen.
        assert {k for row in chosen for k in row} == {0, 1}
        document[kind] = chosen
        tensors[kind + ".latents"], tensors[kind + ".clean"] = latents.float(), clean.float()
    (OUT / "rollout.json").write_text(json.dumps(document) + "\n")
    save_file(tensors, OUT / "rollout.safetensors")
    (OUT / "rollout.safetensors").chmod(0o644)
    synthetic.write_sums(OUT)


if __name__ == "__main__":
    main()
