"""Parameter tables of the published models and their names in single-file checkpoints, by diffusers and transformers.

    python tools/golden/models.py        writes java/src/test/resources/org/smpo/checkpoint/{golden.json, SHA256SUMS}

Pinned: diffusers 0.42.1, transformers 5.23.0, torch 2.11.0. Models are made on the meta device from the configs in
java/src/main/resources/org/smpo/checkpoint. For each component: the numbers of tensors and parameters, and SHA-256 over the lines
`name d0,d1,...` in torch's order. For UNet and VAE also SHA-256 over the sorted lines `checkpoint's name=diffusers' name`:
the checkpoint's names come from the loops of CompVis' UNetModel and of its autoencoder, written out below, and diffusers'
conversion maps each of them.
"""

import hashlib
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "java/src/main/resources/org/smpo/checkpoint"
OUT = ROOT / "java/src/test/resources/org/smpo/checkpoint"

VISIONS = {
    "vision_l": dict(
        hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=24, patch_size=14,
        projection_dim=768, hidden_act="quick_gelu",
    ),
    "vision_h": dict(
        hidden_size=1280, intermediate_size=5120, num_attention_heads=16, num_hidden_layers=32, patch_size=14,
        projection_dim=1024, hidden_act="gelu",
    ),
}


def digest(lines):
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def text_name(name):
    return name if name.startswith(("text_model.", "text_projection.")) else "text_model." + name


def table(model, name=lambda n: n):
    parameters = [(name(n), p) for n, p in model.named_parameters()]
    return dict(
        tensors=len(parameters),
        parameters=sum(p.numel() for _, p in parameters),
        sha256=digest(f"{n} {','.join(map(str, p.shape))}" for n, p in parameters),
    )


def unet_names(config):
    """Parameter names of CompVis' UNetModel with this model's sizes."""
    levels = len(config["block_out_channels"])
    layers, depth = config["layers_per_block"], config.get("transformer_layers_per_block", 1)
    depth = depth if isinstance(depth, list) else [depth] * levels
    channels = config["block_out_channels"]
    names = []

    def both(name):
        names.extend([name + ".weight", name + ".bias"])

    def res(name, shortcut):
        for part in ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]:
            both(f"{name}.{part}")
        if shortcut:
            both(name + ".skip_connection")

    def spatial(name, depth):
        for part in ["norm", "proj_in", "proj_out"]:
            both(f"{name}.{part}")
        for k in range(depth):
            block = f"{name}.transformer_blocks.{k}"
            for attn in ["attn1", "attn2"]:
                names.extend(f"{block}.{attn}.{p}.weight" for p in ["to_q", "to_k", "to_v"])
                both(f"{block}.{attn}.to_out.0")
            for part in ["ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3"]:
                both(f"{block}.{part}")

    both("time_embed.0"), both("time_embed.2"), both("input_blocks.0.0"), both("out.0"), both("out.2")
    if config.get("addition_embed_type"):
        both("label_emb.0.0"), both("label_emb.0.2")
    ch, n, stack = channels[0], 1, [channels[0]]
    for level in range(levels):
        for _ in range(layers):
            res(f"input_blocks.{n}.0", ch != channels[level])
            ch = channels[level]
            if config["down_block_types"][level].startswith("Cross"):
                spatial(f"input_blocks.{n}.1", depth[level])
            stack.append(ch)
            n += 1
        if level < levels - 1:
            both(f"input_blocks.{n}.0.op")
            stack.append(ch)
            n += 1
    res("middle_block.0", False), spatial("middle_block.1", depth[-1]), res("middle_block.2", False)
    n = 0
    for i in range(levels):
        level = levels - 1 - i
        for j in range(layers + 1):
            res(f"output_blocks.{n}.0", ch + stack.pop() != channels[level])
            ch, next_module = channels[level], 1
            if config["up_block_types"][i].startswith("Cross"):
                spatial(f"output_blocks.{n}.1", depth[level])
                next_module = 2
            if level and j == layers:
                both(f"output_blocks.{n}.{next_module}.conv")
            n += 1
    return names


def vae_names(config):
    """Parameter names of CompVis' AutoencoderKL with this model's sizes."""
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    names = []

    def both(name):
        names.extend([name + ".weight", name + ".bias"])

    def res(name, shortcut):
        for part in ["norm1", "conv1", "norm2", "conv2"] + (["nin_shortcut"] if shortcut else []):
            both(f"{name}.{part}")

    for side in ["encoder", "decoder"]:
        for part in ["conv_in", "norm_out", "conv_out"]:
            both(f"{side}.{part}")
        res(f"{side}.mid.block_1", False), res(f"{side}.mid.block_2", False)
        for part in ["norm", "q", "k", "v", "proj_out"]:
            both(f"{side}.mid.attn_1.{part}")
    ch = channels[0]
    for level in range(len(channels)):
        for j in range(layers):
            res(f"encoder.down.{level}.block.{j}", ch != channels[level])
            ch = channels[level]
        if level < len(channels) - 1:
            both(f"encoder.down.{level}.downsample.conv")
    for level in reversed(range(len(channels))):
        for j in range(layers + 1):
            res(f"decoder.up.{level}.block.{j}", ch != channels[level])
            ch = channels[level]
        if level:
            both(f"decoder.up.{level}.upsample.conv")
    both("quant_conv"), both("post_quant_conv")
    return names


def pairs(names, prefix, convert, config, model):
    """Returns the diffusers parameter for each name. Each tensor is a distinct number, so that it can be identified."""
    checkpoint = {prefix + n: torch.full([1, 1], float(i)) for i, n in enumerate(names)}
    converted = {k: names[int(v.flatten()[0])] for k, v in convert(checkpoint, config).items()}
    assert set(converted) == {n for n, _ in model.named_parameters()}, set(converted) ^ {n for n, _ in model.named_parameters()}
    assert len(set(converted.values())) == len(converted) == len(names)
    return digest(sorted(f"{theirs}={ours}" for ours, theirs in converted.items()))


def main():
    golden = {}
    for file in sorted(CONFIGS.glob("*.json")):
        configs, golden[file.stem] = json.loads(file.read_text()), {}
        for name in sorted(set(configs) - {"model_index", "scheduler"}):
            config = configs[name]
            with torch.device("meta"):
                if name == "unet":
                    model = UNet2DConditionModel.from_config(config)
                    entry = table(model)
                elif name == "vae":
                    model = AutoencoderKL.from_config(config)
                    entry = table(model)
                else:
                    projects = config["architectures"] == ["CLIPTextModelWithProjection"]
                    model = (CLIPTextModelWithProjection if projects else CLIPTextModel)(CLIPTextConfig(**config))
                    entry = table(model, text_name)
            if name == "unet":
                full = dict(model.config)
                entry["checkpoint"] = pairs(
                    unet_names(config), "model.diffusion_model.", convert_ldm_unet_checkpoint, full, model
                )
            if name == "vae":
                entry["checkpoint"] = pairs(
                    vae_names(config), "first_stage_model.", convert_ldm_vae_checkpoint, dict(model.config), model
                )
            golden[file.stem][name] = entry
    for name, config in VISIONS.items():
        with torch.device("meta"):
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
        golden[name] = dict(config=config, vision=table(model))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    sums = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in sorted(OUT.glob("*.json"))]
    (OUT / "SHA256SUMS").write_text("".join(sums))


main()
