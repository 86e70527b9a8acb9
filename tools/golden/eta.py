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

import json
import sys
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.schedulers import scheduling_ddim
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from pipeline import ASTRONAUT, CATS, HEIGHT, MODELS, RESOURCES, STEPS, UGLY, WIDTH, build, case

OUT = RESOURCES / "generate/eta"
SAMPLER_NOISE = 8
CASES = [
    dict(case("ddim", [ASTRONAUT, CATS], [UGLY, ""]), eta=1.0),
    dict(case("ddim", [CATS], guidance_scale=1.0), eta=0.5),
]


def run(model, case, latents, temporary):
    parts = build(model, temporary)
    scheduler = DDIMScheduler.from_config(model["scheduler"])
    if model["family"] == "sdxl":
        pipe = StableDiffusionXLPipeline(**parts, scheduler=scheduler, add_watermarker=False, **model["index"])
    else:
        pipe = StableDiffusionPipeline(
            **parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipe.set_progress_bar_config(disable=True)
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


def main():
    versions = dict(
        torch=torch.__version__.split("+")[0], diffusers=diffusers.__version__, transformers=transformers.__version__
    )
    assert versions == dict(torch="2.12.1", diffusers="0.42.1", transformers="5.24.0"), versions
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    OUT.mkdir(parents=True, exist_ok=True)
    lines, tensors = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("sd1", "sd2", "sdxl"):
            texts = []
            for k, one in enumerate(CASES):
                shape = [len(one["prompts"]), 4, HEIGHT // 8, WIDTH // 8]
                latents = torch.from_numpy(synthetic.normal_like(f"{name}.eta.{k}.latents", shape))
                final = run(MODELS[name], one, latents, Path(temporary))
                assert torch.isfinite(final).all()
                tensors[f"{name}.{k}.latents"] = final.contiguous()
                unused = ("bf16", "lora", "scheduler", "clip_skip")
                texts.append(json.dumps({key: value for key, value in one.items() if key not in unused}))
                print(name, k, one["eta"], f"latents {final.std():.3f}")
            lines.append(f" {json.dumps(name)}: [\n" + ",\n".join(f"  {text}" for text in texts) + "\n ]")
    save_file(tensors, OUT / "eta.safetensors")
    (OUT / "eta.safetensors").chmod(0o644)
    (OUT / "eta.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    synthetic.write_sums(OUT)


if __name__ == "__main__":
    main()
