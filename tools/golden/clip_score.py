"""Pixel values and scores of tiny CLIP models by transformers 5.23.0, as PickScore is computed.

    python tools/golden/clip_score.py     writes java/src/test/resources/org/smpo/reward/{clip_score.json, .safetensors}

Pinned: torch 2.11.0, Pillow 13.0.0. Weights come from synthetic.py by their names in a checkpoint, images from the
function below, and the vocabulary is that of clip_tokenizer.py, so only results are committed.

clip_score.json: "pictures", the images as [name, height, width]; processors, each a preprocessor_config.json; captions;
models, each a config.json with its logit_scale and scores: "scores" [captions][images] in float32 by PickScore's published
code, "exact" the same in float64 from the same pixel values. clip_score.safetensors: PROCESSOR.IMAGE, the pixel values [3, H, W] of
transformers' CLIPImageProcessorPil: it resizes 8-bit pixels with Pillow, like the class with which PickScore was
published. (The torchvision-backed class that transformers 5 prefers differs from it by about one level in a few values
per thousand; `--compare` prints the differences if torchvision is installed.)
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

sys.path.insert(0, str(Path(__file__).parent))
import synthetic

TESTS = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo"
OUT = TESTS / "reward"

# Larger and smaller than the model's side, both orientations, odd crops, and exactly the model's side.
IMAGES = [
    ["square", 96, 96],
    ["wide", 61, 130],
    ["tall", 117, 58],
    ["small", 17, 23],
    ["strip", 44, 301],
    ["same", 42, 42],
]
CAPTIONS = [
    "a lighthouse on a cliff at sunset, oil painting",
    "a cat",
    "",
    "Astronaut riding a horse, photorealistic, 8k, trending on artstation!!",
    "猫 on a table. " * 30,
]
SIDE = 42
PROCESSORS = {
    # The form of OpenCLIP's conversions, whose processor PickScore uses.
    "edge": dict(
        crop_size=dict(height=SIDE, width=SIDE),
        do_center_crop=True,
        do_convert_rgb=True,
        do_normalize=True,
        do_rescale=True,
        do_resize=True,
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_processor_type="CLIPImageProcessor",
        image_std=[0.26862954, 0.26130258, 0.27577711],
        resample=3,
        rescale_factor=0.00392156862745098,
        size=dict(shortest_edge=SIDE),
    ),
    # The oldest form: numbers for sizes, the rest omitted.
    "old": dict(feature_extractor_type="CLIPFeatureExtractor", size=30, crop_size=25, resample=3),
    # A crop that is larger than the image, with an odd border.
    "border": dict(size=dict(shortest_edge=20), crop_size=dict(height=25, width=26)),
    "exact": dict(size=dict(height=20, width=31), do_center_crop=False, resample=2, do_normalize=False),
    "plain": dict(
        do_resize=False, crop_size=dict(height=16, width=15), do_rescale=False, image_mean=[100, 110, 120], image_std=[2, 3, 4]
    ),
}
TEXT = dict(vocab_size=3314, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=3)
VISION = dict(hidden_size=48, intermediate_size=96, num_attention_heads=4, num_hidden_layers=3, image_size=SIDE, patch_size=14)
MODELS = {
    # The form of PickScore's and OpenCLIP's config.json.
    "vit_h": dict(
        projection_dim=24,
        text_config=dict(TEXT, hidden_act="gelu", eos_token_id=2, projection_dim=24),
        vision_config=dict(VISION, hidden_act="gelu", projection_dim=24),
    ),
    # The form of OpenAI's: each tower twice, of which the second counts; widths and heads equal to defaults are omitted.
    "vit_l": dict(
        projection_dim=20,
        text_config=dict(TEXT, hidden_size=16, eos_token_id=2),
        text_config_dict=dict({k: v for k, v in TEXT.items() if k != "num_attention_heads"}, eos_token_id=3313),
        vision_config=dict(VISION),
        vision_config_dict=dict({k: v for k, v in VISION.items() if k != "num_attention_heads"}, layer_norm_eps=1e-4),
    ),
}


def image_pixels(name, height, width):
    """8-bit pixels [height, width, 3]: ramps with noise, so that resizing meets both edges and texture."""
    noise = ((synthetic.uniform(f"picture.{name}", height * width * 3) + 1) * 128).astype(np.int64).reshape(height, width, 3)
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return (((3 * x + 5 * y + 60 * c) % 256 * 3 + noise) // 4).astype(np.uint8)


def tokenizer():
    """Returns the tokenizer of the small vocabulary, with OpenAI's padding."""
    source = TESTS / "network/tokenizer"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vocab.json", "merges.txt"):
            (Path(folder) / name).write_bytes((source / name).read_bytes())
        (Path(folder) / "tokenizer_config.json").write_bytes((source / "first.json").read_bytes())
        return CLIPTokenizer.from_pretrained(folder)


@torch.no_grad()
def scores(model, text, pixels):
    """Returns scores computed as in PickScore's published code."""
    images = model.get_image_features(pixel_values=pixels).pooler_output
    images = images / torch.norm(images, dim=-1, keepdim=True)
    texts = model.get_text_features(**text).pooler_output
    texts = texts / torch.norm(texts, dim=-1, keepdim=True)
    return texts @ images.T


def run(config, text, pixels):
    with tempfile.TemporaryDirectory() as folder:
        # Saving and loading gives the weights their names in a checkpoint.
        synthetic.fill(CLIPModel(CLIPConfig(**config))).save_pretrained(folder)
        model = CLIPModel.from_pretrained(folder).eval()
    for name, parameter in model.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), synthetic.tensor(name, tuple(parameter.shape))), name
    single = scores(model, text, pixels)
    double = scores(model.double(), text, pixels.double())
    print("float32 against float64:", float((single - double).abs().max()), "scores", double.min(), double.max())
    return dict(
        config=config,
        logit_scale=float(model.logit_scale),
        parameters={n: list(p.shape) for n, p in model.named_parameters()},
        scores=single.tolist(),
        exact=double.tolist(),
    )


def compare():
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor

    rng = np.random.default_rng(0)
    for height, width in [(512, 512), (640, 480), (768, 1024), (100, 130), (1024, 1024)]:
        coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.BICUBIC)).astype(int)
        image = Image.fromarray(np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8))
        a, b = (np.asarray(p(image, return_tensors="np")["pixel_values"]) for p in (CLIPImageProcessor(), CLIPImageProcessorPil()))
        difference = np.abs(a - b)
        print(f"{height}x{width}: largest {difference.max():.4f}, share of values that differ {(difference > 1e-3).mean():.4f}")


def main():
    images = {name: image_pixels(name, height, width) for name, height, width in IMAGES}
    tensors = {}
    for key, config in PROCESSORS.items():
        processor = CLIPImageProcessorPil(**{k: v for k, v in config.items() if not k.endswith("_type")})
        for name, rgb in images.items():
            values = processor(Image.fromarray(rgb), return_tensors="np")["pixel_values"][0]
            tensors[f"{key}.{name}"] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    text = tokenizer()(CAPTIONS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    pixels = torch.stack([tensors[f"edge.{name}"] for name in images])
    result = dict(
        pictures=IMAGES,
        processors=PROCESSORS,
        captions=CAPTIONS,
        models={name: run(config, text, pixels) for name, config in MODELS.items()},
    )
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "clip_score.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    # For the other processors, the two images with odd sides are enough.
    kept = {k: v for k, v in tensors.items() if k.startswith("edge.") or k.endswith((".wide", ".small"))}
    save_file(kept, OUT / "clip_score.safetensors")
    (OUT / "clip_score.safetensors").chmod(0o644)
    synthetic.write_sums(OUT)


if __name__ == "__main__":
    torch.set_num_threads(2)
    if sys.argv[1:] == ["--compare"]:
        compare()
    else:
        main()
