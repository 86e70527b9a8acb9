#!/usr/bin/env python3
"""Time and memory of `smpo score` with PickScore, HPSv2.1, ImageReward and the aesthetic predictor at their published sizes.

    tools/bench rewards [--images N] [--threads N] [--only KIND] [--smpo COMMAND]

Weights are random numbers, since time does not depend on them. Each model is written in its published layout (PickScore as a
folder of transformers, HPSv2.1 and ImageReward as torch files with their authors' names, the aesthetic predictor as one safetensors file), scores
the same images of 512x512, and is deleted again. Prints a table. Peak memory is the resident set, of which the mapped file of
weights is a part; needs a Python with torch and safetensors (SMPO_PEER_PYTHON), and 4 GB of disk.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VISION_H = dict(width=1280, layers=32, heads=16, patch=14, inner=5120)
VISION_L = dict(width=1024, layers=24, heads=16, patch=14, inner=4096)
TEXT_H = dict(width=1024, layers=24, heads=16, inner=4096)
TOKENS, POSITIONS, SIDE, WORDS = 49408, 77, 224, 30522


def open_clip():
    """Names and shapes of a ViT-H/14 of OpenCLIP."""
    shapes = {"logit_scale": ()}

    def blocks(prefix, width, layers, inner):
        for i in range(layers):
            block = f"{prefix}transformer.resblocks.{i}."
            for norm in ("ln_1", "ln_2"):
                shapes[block + norm + ".weight"] = shapes[block + norm + ".bias"] = (width,)
            shapes[block + "attn.in_proj_weight"], shapes[block + "attn.in_proj_bias"] = (3 * width, width), (3 * width,)
            shapes[block + "attn.out_proj.weight"], shapes[block + "attn.out_proj.bias"] = (width, width), (width,)
            shapes[block + "mlp.c_fc.weight"], shapes[block + "mlp.c_fc.bias"] = (inner, width), (inner,)
            shapes[block + "mlp.c_proj.weight"], shapes[block + "mlp.c_proj.bias"] = (width, inner), (width,)

    v, t = VISION_H, TEXT_H
    shapes["visual.conv1.weight"] = (v["width"], 3, v["patch"], v["patch"])
    shapes["visual.class_embedding"] = (v["width"],)
    shapes["visual.positional_embedding"] = ((SIDE // v["patch"]) ** 2 + 1, v["width"])
    shapes["visual.proj"] = (v["width"], 1024)
    for norm in ("visual.ln_pre", "visual.ln_post"):
        shapes[norm + ".weight"] = shapes[norm + ".bias"] = (v["width"],)
    blocks("visual.", v["width"], v["layers"], v["inner"])
    shapes["token_embedding.weight"] = (TOKENS, t["width"])
    shapes["positional_embedding"] = (POSITIONS, t["width"])
    shapes["text_projection"] = (t["width"], 1024)
    shapes["ln_final.weight"] = shapes["ln_final.bias"] = (t["width"],)
    blocks("", t["width"], t["layers"], t["inner"])
    return shapes


def transformers(vision, projection, text=None):
    """Names and shapes of a CLIP model of transformers; without a text tower where there is none."""
    shapes = {}

    def tower(name, width, layers, inner):
        for i in range(layers):
            layer = f"{name}.encoder.layers.{i}."
            for norm in ("layer_norm1", "layer_norm2"):
                shapes[layer + norm + ".weight"] = shapes[layer + norm + ".bias"] = (width,)
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                shapes[layer + f"self_attn.{part}.weight"], shapes[layer + f"self_attn.{part}.bias"] = (width, width), (width,)
            shapes[layer + "mlp.fc1.weight"], shapes[layer + "mlp.fc1.bias"] = (inner, width), (inner,)
            shapes[layer + "mlp.fc2.weight"], shapes[layer + "mlp.fc2.bias"] = (width, inner), (width,)

    v = vision
    shapes["vision_model.embeddings.class_embedding"] = (v["width"],)
    shapes["vision_model.embeddings.patch_embedding.weight"] = (v["width"], 3, v["patch"], v["patch"])
    shapes["vision_model.embeddings.position_embedding.weight"] = ((SIDE // v["patch"]) ** 2 + 1, v["width"])
    for norm in ("pre_layrnorm", "post_layernorm"):
        shapes[f"vision_model.{norm}.weight"] = shapes[f"vision_model.{norm}.bias"] = (v["width"],)
    tower("vision_model", v["width"], v["layers"], v["inner"])
    shapes["visual_projection.weight"] = (projection, v["width"])
    if text:
        shapes["logit_scale"] = ()
        shapes["text_model.embeddings.token_embedding.weight"] = (TOKENS, text["width"])
        shapes["text_model.embeddings.position_embedding.weight"] = (POSITIONS, text["width"])
        shapes["text_model.final_layer_norm.weight"] = shapes["text_model.final_layer_norm.bias"] = (text["width"],)
        tower("text_model", text["width"], text["layers"], text["inner"])
        shapes["text_projection.weight"] = (projection, text["width"])
    return shapes


def numbers(shapes, prefix=""):
    import torch

    torch.manual_seed(0)
    tensors = {}
    for name, shape in shapes.items():
        gain = len(shape) == 1 and name.endswith(".weight")
        tensors[prefix + name] = torch.ones(shape) if gain else torch.empty(shape).normal_(0, 0.02)
    return tensors


def pickscore(folder):
    from safetensors.torch import save_file

    model = folder / "PickScore_v1"
    model.mkdir()
    v, t = VISION_H, TEXT_H
    config = dict(
        architectures=["CLIPModel"], model_type="clip", projection_dim=1024,
        text_config=dict(hidden_size=t["width"], intermediate_size=t["inner"], num_attention_heads=t["heads"],
                         num_hidden_layers=t["layers"], hidden_act="gelu"),
        vision_config=dict(hidden_size=v["width"], intermediate_size=v["inner"], num_attention_heads=v["heads"],
                           num_hidden_layers=v["layers"], patch_size=v["patch"], hidden_act="gelu"),
    )
    (model / "config.json").write_text(json.dumps(config))
    save_file(numbers(transformers(v, 1024, t)), model / "model.safetensors")
    return model


def hpsv2(folder):
    import torch

    file = folder / "HPS_v2.1_compressed.pt"
    torch.save({"state_dict": numbers(open_clip())}, file)
    return file


def aesthetic(folder):
    from safetensors.torch import save_file

    tensors = numbers(transformers(VISION_L, 768), "clip.")
    widths = [768, 1024, 128, 64, 16, 1]
    for number, (inputs, outputs) in zip((0, 2, 4, 6, 7), zip(widths, widths[1:])):
        tensors.update(numbers({f"layers.{number}.weight": (outputs, inputs), f"layers.{number}.bias": (outputs,)}, "mlp."))
    file = folder / "aesthetic.safetensors"
    save_file(tensors, file)
    return file


def blip():
    """Names and shapes of ImageReward's BLIP: ViT-L/16, and BERT-base with cross-attention."""
    shapes = {}

    def linear(name, outputs, inputs):
        shapes[name + ".weight"], shapes[name + ".bias"] = (outputs, inputs), (outputs,)

    def norm(name, width):
        shapes[name + ".weight"] = shapes[name + ".bias"] = (width,)

    v, t, inner = 1024, 768, 3072
    see, read = "blip.visual_encoder.", "blip.text_encoder."
    shapes[see + "cls_token"], shapes[see + "pos_embed"] = (1, 1, v), (1, (SIDE // 16) ** 2 + 1, v)
    shapes[see + "patch_embed.proj.weight"], shapes[see + "patch_embed.proj.bias"] = (v, 3, 16, 16), (v,)
    for i in range(24):
        block = f"{see}blocks.{i}."
        for name in ("norm1", "norm2"):
            norm(block + name, v)
        linear(block + "attn.qkv", 3 * v, v)
        linear(block + "attn.proj", v, v)
        linear(block + "mlp.fc1", 4 * v, v)
        linear(block + "mlp.fc2", v, 4 * v)
    norm(see + "norm", v)
    shapes[read + "embeddings.word_embeddings.weight"] = (WORDS + 2, t)
    shapes[read + "embeddings.position_embeddings.weight"] = (512, t)
    norm(read + "embeddings.LayerNorm", t)
    for i in range(12):
        layer = f"{read}encoder.layer.{i}."
        for attention, width in dict(attention=t, crossattention=v).items():
            linear(layer + attention + ".self.query", t, t)
            linear(layer + attention + ".self.key", t, width)
            linear(layer + attention + ".self.value", t, width)
            linear(layer + attention + ".output.dense", t, t)
            norm(layer + attention + ".output.LayerNorm", t)
        linear(layer + "intermediate.dense", inner, t)
        linear(layer + "output.dense", t, inner)
        norm(layer + "output.LayerNorm", t)
    widths = [768, 1024, 128, 64, 16, 1]
    for number, (inputs, outputs) in zip((0, 2, 4, 6, 7), zip(widths, widths[1:])):
        linear(f"mlp.layers.{number}", outputs, inputs)
    return shapes


def imagereward(folder):
    import torch

    model = folder / "ImageReward"
    model.mkdir()
    torch.save(numbers(blip()), model / "ImageReward.pt")
    # As many tokens as bert-base-uncased has, with letters, so that a caption has about as many tokens as characters.
    letters = [chr(c) for c in range(33, 127)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    tokens += [f"unused{i}" for i in range(WORDS - len(tokens))]
    (model / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return model


def pairs(folder, images):
    """A folder of pairs whose images are noise."""
    import zlib
    import random
    import struct

    folder.mkdir()
    side, lines = 512, []
    for i in range(images):
        noise = random.Random(i)
        rows = b"".join(b"\0" + noise.randbytes(3 * side) for _ in range(side))

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (folder / f"{i}.png").write_bytes(png + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))
    for i in range(0, images, 2):
        lines.append(json.dumps(dict(caption=f"a photo, number {i}", image_0=f"{i}.png", image_1=f"{i + 1}.png", label=0)))
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")


def size(path):
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def measure(command):
    """Wall time, processor time and peak memory of a command."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(output)
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16, help="number of images, even (default: 16)")
    parser.add_argument("--threads", type=int, default=0, help="number of CPU threads (default: one per physical core)")
    parser.add_argument("--only", choices=["pickscore", "hpsv2", "imagereward", "aesthetic"], help="measure one kind alone")
    parser.add_argument("--smpo", default=str(ROOT / "tools/smpo"), help="command to measure (default: tools/smpo)")
    arguments = parser.parse_args()
    print("| reward | file, GB | 2 images, s | %d images, s | per image, s | processor, s | peak resident, GB |" % arguments.images)
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, make in dict(pickscore=pickscore, hpsv2=hpsv2, imagereward=imagereward, aesthetic=aesthetic).items():
        if arguments.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if os.fork() == 0:
                # A process of its own, whose memory is free again before anything is measured.
                make(folder)
                os._exit(0)
            os.wait()
            path = next(p for p in folder.iterdir())
            results = []
            for images in (2, arguments.images):
                pairs(folder / f"data{images}", images)
                results.append(measure([
                    *shlex.split(arguments.smpo), "score", f"{name}:{path}", folder / f"data{images}",
                    "--out", folder / f"scores{images}.parquet", "--threads", str(arguments.threads),
                ]))
            (few, _, _), (many, processor, peak) = results
            print(f"| {name} | {size(path) / 1e9:.2f} | {few:.1f} | {many:.1f} | {(many - few) / (arguments.images - 2):.2f} "
                  f"| {processor:.1f} | {peak / 1e9:.2f} |", flush=True)


if __name__ == "__main__":
    main()
