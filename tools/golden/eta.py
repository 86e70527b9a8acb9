"""Golden latents of diffusers' text-to-image pipelines with DDIM's eta above 0.

    python tools/golden/eta.py      writes java/src/test/resources/org/smpo/generate/eta/
                                    {eta.json, eta.safetensors, SHA256SUMS}

The scheduler draws its noise with randn_tensor, which is replaced: the noise of row b at step i is the normal numbers of
native/src/kernels/philox_normal.h with seed 0, purpose 8, step i and item b. Pinned: torch 2.12.1, diffusers 0.42.1,
transformers 5.24.0. Models, prompts and sizes are those of pipeline.py.

eta.json, per model of pipeline.json: its cases, as there, and eta
eta.safetensors, per model and case K:
  MODEL.K.latents  [B, 4, 6, 5]  the sampler's last latents, from normal_like("MODEL.eta.K.latents", [B, 4, 6, 5])
"""

import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from diffusers.schedulers import scheduling_ddim

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from latents import write
from pipeline import ASTRONAUT, CATS, HEIGHT, STEPS, UGLY, WIDTH, assemble, build, case

SAMPLER_NOISE = 8
CASES = [
    dict(case("ddim", [ASTRONAUT, CATS], [UGLY, ""]), eta=1.0),
    dict(case("ddim", [CATS], guidance_scale=1.0), eta=0.5),
]


def run(model, case, latents, temporary):
    parts = build(model, temporary)
    scheduler = DDIMScheduler.from_config(model["scheduler"])
    pipe = assemble(model, parts, scheduler)
    taken = 0

    def noise(shape, **_):
        nonlocal taken
        rows = [synthetic.normals(int(np.prod(shape[1:])), SAMPLER_NOISE, taken, item) for item in range(shape[0])]
        taken += 1
        return torch.from_numpy(np.stack(rows).reshape(shape)).float()

    scheduling_ddim.randn_tensor = noise
    with torch.no_grad():
        final = pipe(
            prompt=case["prompts"], negative_prompt=case["negative"], height=HEIGHT, width=WIDTH,
            num_inference_steps=STEPS, guidance_scale=case["guidance_scale"], eta=case["eta"], latents=latents,
            output_type="latent",
        ).images.float()
    assert taken == STEPS, taken
    return final


if __name__ == "__main__":
    write("eta", "eta", CASES, run, ["eta"])
