"""Gradients of CLIP scores with respect to latents, by autograd through tiny models of diffusers and transformers.

    python tools/golden/reward_gradient.py    writes java/src/test/resources/org/smpo/reward/gradient/

Pinned: torch 2.11.0, torchvision 0.26.0, diffusers 0.42.1, transformers 5.24.0. The models are "vit_h" of clip_score.py, "f8" of
vae_clip.py and "sd1" of unet.py, whose weights come from synthetic.py by their names, as do the inputs: so results alone are
committed.

    x' -> e = n + w (p - n), UNet with and without the prompt -> x0 = sample x' + output e -> VAE.decode(x0 / scaling_factor)
       -> clamp((y + 1) / 2, 0, 1) -> resize bicubic, antialiased -> crop ("pickscore") or pad ("hpsv2") -> normalize -> CLIP
       -> cosine with the caption

reward_gradient.json: timestep, guidance, sample, output, captions, sizes, and per kind the "scores" of both images at x0.
reward_gradient.safetensors: clean [2,4,h,w], the x0 of the sample; KIND.clean, the gradient of each image's score with respect to
clean; KIND.sample, that with respect to x' through the UNet. All in float32; the largest relative difference from float64 is
printed.
"""

import json
import sys
from pathlib import Path

import torch
import torchvision.transforms.functional as functional
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode
from transformers import CLIPConfig, CLIPModel

sys.path.insert(0, str(Path(__file__).parent))
import clip_score
import synthetic

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "java/src/test/resources/org/smpo/reward/gradient"
HEIGHT, WIDTH, TOKENS, TIMESTEP, GUIDANCE = 8, 10, 7, 451, 5.0
# x0 = (x' - sigma e) / alpha at a level where neither term dominates.
ALPHA, SIGMA = 0.8, 0.6
SAMPLE, OUTPUT = 1 / ALPHA, -SIGMA / ALPHA
SIDE, MEAN, STD = 42, [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def golden(name):
    return json.loads((ROOT / "native/test/golden" / name).read_text())["config"]


def inputs():
    shapes = dict(sample=[2, 4, HEIGHT, WIDTH], prompt=[2, TOKENS, 20], negative=[2, TOKENS, 20])
    return {n: torch.from_numpy(synthetic.normal_like("gradient." + n, s)) for n, s in shapes.items()}


def pixel_values(pixels, kind):
    light = ((pixels + 1) / 2).clamp(0, 1)
    height, width = light.shape[2:]
    longest = kind == "hpsv2"
    scale = SIDE / (max if longest else min)(height, width)
    size = [round(s * scale) if longest else int(s * scale) for s in (height, width)]
    resized = functional.resize(light, size, InterpolationMode.BICUBIC, antialias=True)
    if longest:
        rows, columns = SIDE - size[0], SIDE - size[1]
        resized = functional.pad(resized, [columns // 2, rows // 2, columns - columns // 2, rows - rows // 2])
    else:
        top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
        resized = resized[:, :, top : top + SIDE, left : left + SIDE]
    return functional.normalize(resized, MEAN, STD)


def run(dtype):
    unet = synthetic.fill(UNet2DConditionModel(**{k: v for k, v in golden("unet/sd1.json").items() if k[0] != "_"})).eval().to(dtype)
    vae = synthetic.fill(AutoencoderKL(**{k: v for k, v in golden("vae/f8.json").items() if k[0] != "_"})).eval().to(dtype)
    clip = synthetic.fill(CLIPModel(CLIPConfig(**clip_score.MODELS["vit_h"]))).eval().to(dtype)
    tokens = clip_score.tokenizer()(clip_score.CAPTIONS[:2], padding="max_length", truncation=True, return_tensors="pt")
    texts = clip.get_text_features(**tokens).pooler_output.detach()
    texts = texts / texts.norm(dim=-1, keepdim=True)
    given = {n: v.to(dtype) for n, v in inputs().items()}

    def clean_of(x):
        p, n = (unet(x, torch.tensor([TIMESTEP] * 2), given[k]).sample for k in ("prompt", "negative"))
        return SAMPLE * x + OUTPUT * (n + GUIDANCE * (p - n))

    def score(clean, kind):
        pixels = vae.decode(clean / vae.config.scaling_factor).sample
        images = clip.get_image_features(pixel_values=pixel_values(pixels, kind)).pooler_output
        return (images / images.norm(dim=-1, keepdim=True) * texts).sum(-1), pixels

    results, scores = {}, {}
    for kind in ("pickscore", "hpsv2"):
        x = given["sample"].clone().requires_grad_()
        clean = clean_of(x)
        results["clean"] = clean.detach()
        score(clean, kind)[0].sum().backward()
        results[kind + ".sample"] = x.grad
        clean = clean.detach().requires_grad_()
        values, pixels = score(clean, kind)
        values.sum().backward()
        results[kind + ".clean"] = clean.grad
        scores[kind] = values.tolist()
        beyond = float((pixels.abs() > 1).double().mean())
        print(kind, dtype, "scores", scores[kind], "pixels beyond the range", f"{beyond:.3f}")
    return results, scores


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    (results, scores), (exact, _) = run(torch.float32), run(torch.float64)
    for name, value in results.items():
        print(name, "norm", float(value.norm()), "against float64", synthetic.relative_error(value, exact[name]))
    described = dict(height=HEIGHT, width=WIDTH, tokens=TOKENS, timestep=TIMESTEP, guidance=GUIDANCE, sample=SAMPLE, output=OUTPUT,
                     captions=clip_score.CAPTIONS[:2], scores=scores)
    (OUT / "reward_gradient.json").write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    save_file({n: v.contiguous() for n, v in results.items()}, OUT / "reward_gradient.safetensors")
    (OUT / "reward_gradient.safetensors").chmod(0o644)
    synthetic.write_sums(OUT)


main()
