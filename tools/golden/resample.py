"""Images resized by Pillow 13.0.0, and scaled and cropped by torchvision 0.26.0.

    python tools/golden/resample.py    writes java/src/test/resources/org/smpo/io/resample/

The source image of width w and height h, [h, w, 3], has at (y, x, c) the upper byte of
(x * 2654435761 + y * 2246822519 + c * 3266489917 + (x * y) * 668265263) mod 2^32 when kind is "noise",
(3 x + 5 y + 85 c) mod 256 when kind is "ramp",
and 255 when (x // 3 + y // 5 + c) is odd, else 0, when kind is "board" (a cubic overshoots there).
Results are digests of their bytes, with the first 24 bytes as a debugging aid.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, Resize

RESOURCES = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/io/resample"
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

SIZES = [
    ((1, 1), (5, 3)), ((7, 5), (1, 1)), ((2, 2), (3, 3)), ((13, 9), (13, 4)), ((13, 9), (5, 9)), ((13, 9), (13, 9)),
    ((16, 16), (8, 8)), ((17, 31), (16, 30)), ((33, 20), (64, 64)), ((64, 48), (224, 168)), ((101, 67), (37, 23)),
    ((300, 200), (224, 149)), ((511, 513), (224, 224)), ((640, 427), (384, 256)), ((1000, 3), (7, 100)),
    ((3, 1000), (100, 7)), ((97, 89), (96, 90)),
    ((100, 150), (60, 69)), ((100, 150), (60, 70)), ((100, 201), (50, 100)), ((50, 60), (60, 59)),
]  # fmt: skip

PIPELINES = [
    (640, 427, 256), (427, 640, 256), (512, 512, 512), (513, 512, 512), (512, 515, 512), (768, 512, 512),
    (200, 301, 64), (301, 200, 64), (37, 41, 64), (41, 37, 63), (1001, 100, 33), (100, 1003, 34), (64, 67, 64),
    (69, 64, 64), (64, 71, 64),
]  # fmt: skip


def source_image(kind, width, height):
    y, x, c = np.meshgrid(*(np.arange(n, dtype=np.uint64) for n in (height, width, 3)), indexing="ij")
    if kind == "noise":
        mixed = x * 2654435761 + y * 2246822519 + c * 3266489917 + x * y * 668265263
        values = (mixed & 0xFFFFFFFF) >> 24
    elif kind == "ramp":
        values = (3 * x + 5 * y + 85 * c) & 255
    else:
        values = 255 * ((x // 3 + y // 5 + c) & 1)
    return Image.fromarray(values.astype(np.uint8))


def result(image):
    data = image.tobytes()
    return dict(size=list(image.size), first=data[:24].hex(), sha256=hashlib.sha256(data).hexdigest())


def main():
    resized = []
    for source, target in SIZES:
        for kind in ("noise", "ramp", "board"):
            for name, resample in FILTERS.items():
                image = source_image(kind, *source).resize(target, resample)
                resized.append(dict(kind=kind, source=list(source), filter=name, **result(image)))
    pipelines = []
    for width, height, side in PIPELINES:
        scaled = Resize(side)(source_image("noise", width, height))
        pipelines.append(
            dict(source=[width, height], side=side, scaled=result(scaled), cropped=result(CenterCrop(side)(scaled)))
        )
    RESOURCES.mkdir(parents=True, exist_ok=True)
    file = RESOURCES / "resample.json"
    file.write_text(json.dumps(dict(resized=resized, pipelines=pipelines), indent=0) + "\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (RESOURCES / "SHA256SUMS").write_text(f"{digest}  {file.name}\n")


if __name__ == "__main__":
    main()
