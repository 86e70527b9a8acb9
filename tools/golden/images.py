"""Pixels and time ids by diffusers 0.42.1, and a PNG file written by Pillow 13.0.0.

    python tools/golden/images.py              writes java/src/test/resources/org/smpo/{io/images, model/time_ids}/
    python tools/golden/images.py check FILE   reads a PNG with Pillow and prints its content

pixels.rgb: [64, 64, 3] uint8 by VaeImageProcessor.postprocess of the [3, 64, 64] float32 with x[i] = (i - 6144) / 5120,
except that the first 765 are, for k = 0..254, the value whose pixel lies halfway between k and k + 1,
2 ((k + 0.5) / 255) - 1 with each step in float32, the next float below it and the next above.
pillow.png: 5 x 3 pixels with tEXt, zTXt and iTXt; its content is in PngTest.
"""

import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image, PngImagePlugin

RESOURCES = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo"
SIDE = 64


def pixels():
    f = np.float32
    x = (np.arange(3 * SIDE * SIDE, dtype=f) - f(6144)) / f(5120)
    tie = (np.arange(255, dtype=f) + f(0.5)) / f(255) * f(2) - f(1)
    x[:765] = np.stack([tie, np.nextafter(tie, f(-9)), np.nextafter(tie, f(9))], 1).reshape(-1)
    image = VaeImageProcessor().postprocess(torch.from_numpy(x.reshape(1, 3, SIDE, SIDE)), output_type="pil")[0]
    return np.asarray(image)


def time_ids():
    def unet(ids, pooled):
        linear = SimpleNamespace(in_features=256 * ids + pooled)
        config = SimpleNamespace(addition_time_embed_dim=256)
        return SimpleNamespace(config=config, add_embedding=SimpleNamespace(linear_1=linear))

    cases = []
    for original, crop, target in [((1024, 1024), (0, 0), (1024, 1024)), ((768, 1344), (12, 34), (832, 1216))]:
        base = StableDiffusionXLPipeline._get_add_time_ids(
            SimpleNamespace(unet=unet(6, 1280)), original, crop, target, torch.float32, 1280
        )
        refiner, negative = StableDiffusionXLImg2ImgPipeline._get_add_time_ids(
            SimpleNamespace(unet=unet(5, 1280), config=SimpleNamespace(requires_aesthetics_score=True)),
            original, crop, target, 6.0, 2.5, original, crop, target, torch.float32, 1280,
        )  # fmt: skip
        cases.append(
            dict(
                size=[*original, *crop, *target],
                base=base[0].tolist(),
                refiner=refiner[0].tolist(),
                negative=negative[0].tolist(),
            )
        )
    return cases


def pillow_png(path):
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a café\nSteps: 20")
    info.add_text("long", "x" * 100, zip=True)
    info.add_itxt("prompt", "猫 🔥", lang="", tkey="")
    info.add_itxt("packed", "語" * 50, lang="ja", tkey="", zip=True)
    rgb = (np.arange(45, dtype=np.uint8) * 5).reshape(3, 5, 3)
    Image.fromarray(rgb).save(path, pnginfo=info)


def check(path):
    image = Image.open(path)
    image.load()
    print(image.format, image.mode, image.size, hashlib.sha256(image.tobytes()).hexdigest())
    for key, value in image.text.items():
        print(type(value).__name__, key, json.dumps(value, ensure_ascii=False))


def main():
    if sys.argv[1:2] == ["check"]:
        return check(sys.argv[2])
    images, ids = RESOURCES / "io/images", RESOURCES / "model/time_ids"
    for folder in (images, ids):
        folder.mkdir(parents=True, exist_ok=True)
    (images / "pixels.rgb").write_bytes(pixels().tobytes())
    pillow_png(images / "pillow.png")
    (ids / "time_ids.json").write_text(json.dumps(time_ids(), indent=1) + "\n")
    for folder in (images, ids):
        files = sorted(p for p in folder.iterdir() if p.name != "SHA256SUMS")
        sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in files]
        (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")


if __name__ == "__main__":
    main()
