"""Pixel values and scores of tiny rewards in the published layouts, by OpenCLIP's and transformers' own code.

    python tools/golden/rewards.py     writes java/src/test/resources/org/smpo/reward/{rewards.json, rewards.safetensors}

Pinned: torch 2.11.0, torchvision 0.26.0, transformers 5.24.0, open_clip_torch 3.3.0, Pillow 13.0.0. Weights come from
synthetic.py by their names in a checkpoint, images from clip_score.py, the vocabulary is that of clip_tokenizer.py: so results
alone are committed.

HPSv2: an open_clip.CLIP of ViT-H-14's layout with tiny sizes, whose two towers are called as HPSv2's score() calls them, on
images resized and padded in float by torchvision (the steps of hpsv2/src/open_clip/transform.py, commit 866735e; an image
whose longer side fits is padded too). Aesthetic: transformers' CLIPVisionModelWithProjection with either published head.
CLIP and PickScore: transformers' CLIPModel, which clip_score.py covers as well.

rewards.json: side; images [name, height, width]; captions; "hpsv2": parameters by name with shapes, "scores" in float32 and
"exact" in float64, both [captions][images]; "aesthetic": the same without captions, by head, and the config of the tower.
rewards.safetensors: hpsv2.IMAGE, pixel values [3, side, side].
"""

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import torch
import torchvision.transforms.functional as functional
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

sys.path.insert(0, str(Path(__file__).parent))
import clip_score
import synthetic

SIDE = 42
# Tall, wide, tiny, odd, larger than the model's side by far, exactly the model's on one side.
IMAGES = [
    ["tall", 117, 58],
    ["wide", 61, 130],
    ["tiny", 5, 3],
    ["odd", 33, 47],
    ["large", 301, 299],
    ["fits", 42, 19],
]
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
# The sizes of ViT-H-14.json divided; its activation is torch's GELU.
VISION = dict(image_size=SIDE, layers=3, width=48, head_width=12, patch_size=14)
TEXT = dict(context_length=77, vocab_size=3314, width=32, heads=4, layers=3)
EMBEDDING = 24
TOWER = dict(
    hidden_size=48, intermediate_size=96, num_attention_heads=4, num_hidden_layers=3, image_size=SIDE, patch_size=14,
    projection_dim=20, hidden_act="quick_gelu",
)
LINEAR, RELU = [0, 2, 4, 6, 7], [0, 3, 6, 9, 11]
WIDTHS = [20, 16, 12, 8, 4, 1]


def hpsv2_pixels(image):
    """[3, SIDE, SIDE]: to a tensor, the longer side resized, zeros around it, normalized."""
    pixels = functional.to_tensor(image)
    height, width = pixels.shape[1:]
    scale = SIDE / float(max(height, width))
    size = tuple(round(side * scale) for side in (height, width))
    if scale != 1.0:
        pixels = functional.resize(pixels, size, InterpolationMode.BICUBIC, antialias=True)
    rows, columns = SIDE - size[0], SIDE - size[1]
    pixels = functional.pad(pixels, [columns // 2, rows // 2, columns - columns // 2, rows - rows // 2], fill=0)
    return functional.normalize(pixels, MEAN, STD)


def tokens(captions):
    """Ids of OpenCLIP's form: zeros after the end token, which is the largest id."""
    tokenizer = clip_score.tokenizer()
    rows = torch.zeros(len(captions), 77, dtype=torch.long)
    for row, caption in zip(rows, captions):
        ids = tokenizer(caption, truncation=True, max_length=77)["input_ids"]
        row[: len(ids)] = torch.tensor(ids)
    return rows


@torch.no_grad()
def hpsv2(images):
    model = open_clip.model.CLIP(EMBEDDING, VISION, TEXT, output_dict=True).eval()
    synthetic.fill(model)
    pixels = torch.stack([hpsv2_pixels(image) for image in images])
    ids = tokens(clip_score.CAPTIONS)

    def scores(model, pixels):
        one = model(pixels, ids[:1])["image_features"]
        texts = model.encode_text(ids, normalize=True)
        return texts @ one.T

    single = scores(model, pixels)
    double = scores(model.double(), pixels.double())
    print("hpsv2: float32 against float64", float((single - double).abs().max()), "scores", float(double.min()),
          float(double.max()))
    result = dict(
        parameters={name: list(p.shape) for name, p in model.named_parameters()},
        scores=single.tolist(),
        exact=double.tolist(),
    )
    return pixels, result


def head(layers):
    """A head by its published numbers of layers; those between are dropout, and ReLU where they are two."""
    modules = {}
    for number, (inputs, outputs) in zip(layers, zip(WIDTHS, WIDTHS[1:])):
        linear = torch.nn.Linear(inputs, outputs)
        for name, parameter in linear.named_parameters():
            values = synthetic.tensor(f"mlp.layers.{number}.{name}", tuple(parameter.shape))
            parameter.data.copy_(torch.from_numpy(np.asarray(values)))
        modules[number] = linear
    return modules


@torch.no_grad()
def aesthetic(images):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**TOWER)).eval()
    synthetic.fill(tower, lambda name: "clip." + name)
    processor = CLIPImageProcessorPil(size=dict(shortest_edge=SIDE), crop_size=dict(height=SIDE, width=SIDE))
    pixels = torch.from_numpy(np.stack(processor(images)["pixel_values"]))
    result = dict(
        config=TOWER,
        parameters={"clip." + name: list(p.shape) for name, p in tower.named_parameters()},
    )
    for kind, layers in dict(linear=LINEAR, relu=RELU).items():
        both = {}
        for name, dtype in dict(scores=torch.float32, exact=torch.float64).items():
            embedded = tower.to(dtype)(pixels.to(dtype)).image_embeds
            values = embedded / torch.linalg.vector_norm(embedded, dim=-1, keepdim=True)
            modules = head(layers)
            for number in layers:
                values = modules[number].to(dtype)(values)
                if kind == "relu" and number != layers[-1]:
                    values = torch.relu(values)
            both[name] = values[:, 0].tolist()
        print("aesthetic", kind, both["exact"])
        result[kind] = dict(layers=layers, **both)
    result["widths"] = WIDTHS
    return result


def main():
    from PIL import Image

    images = [Image.fromarray(clip_score.image_pixels(*image)) for image in IMAGES]
    pixels, first = hpsv2(images)
    result = dict(side=SIDE, images=IMAGES, captions=clip_score.CAPTIONS, hpsv2=first, aesthetic=aesthetic(images))
    out = clip_score.OUT
    (out / "rewards.json").write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file({"hpsv2." + name[0]: value.contiguous() for name, value in zip(IMAGES, pixels)}, out / "rewards.safetensors")
    (out / "rewards.safetensors").chmod(0o644)
    synthetic.write_sums(out)


main()
