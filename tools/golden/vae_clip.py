"""Golden results of tiny AutoencoderKL, CLIP text and CLIP vision models, by diffusers 0.42.1 and transformers 5.23.0.

    python tools/golden/vae_clip.py      writes native/test/golden/{vae, clip}/{NAME.json, NAME.safetensors, SHA256SUMS}

Pinned: torch 2.11.0. Weights and inputs come from synthetic.py by name; float32. A text model's inputs are the token ids in
its JSON. Results: vae: caseK.mean, caseK.logvar of the encoder's posterior, caseK.decoded, and, where the case says
tiled, the same by tiles of the config's sample_size: caseK.tiled_mean, .tiled_logvar, .tiled_decoded; text:
caseK.last_hidden_state, caseK.penultimate (hidden_states[-2]), caseK.pooled, and caseK.text_embeds where there is a
projection; vision: caseK.image_embeds, caseK.last_hidden_state.

A case's "bf16_error" is, per result, the relative L2 error of the same model in bfloat16 against float32, as a
bound for ours: the root mean square over "bf16_draws" inputs of the case's shape, since the error varies by input. Draw 0
is the case's own input caseK.NAME, draw D is caseK.drawD.NAME.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

sys.path.insert(0, str(Path(__file__).parent))
import synthetic

OUT = Path(__file__).resolve().parents[2] / "native/test/golden"

# Number of inputs over which the error of bfloat16 is averaged. Results with few numbers, whose error varies more, get more.
VAE_DRAWS = 8
CLIP_DRAWS = 32

VAES = {
    # The layout of SD 1.x, 2.x and SDXL: four levels, f8, an attention block in the middle.
    "f8": dict(
        block_out_channels=[16, 32, 32, 48],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    ),
    "f2": dict(
        block_out_channels=[16, 24],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    ),
}
VAE_CASES = [
    dict(batch=1, height=64, width=64),
    dict(batch=2, height=40, width=72, tiled=True),
    # Odd sizes on several levels.
    dict(batch=1, height=27, width=46),
]

TEXTS = {
    # OpenAI's ViT-L tower: quick_gelu, pooled at the end token found as the largest id (eos_token_id 2 in old configs).
    "vit_l": dict(
        hidden_act="quick_gelu",
        hidden_size=48,
        intermediate_size=192,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=48,
        eos_token_id=2,
    ),
    # OpenCLIP's towers: gelu, a projection, pooled at the first end token.
    "open_clip": dict(
        hidden_act="gelu",
        hidden_size=40,
        intermediate_size=160,
        num_attention_heads=5,
        num_hidden_layers=4,
        projection_dim=24,
        eos_token_id=998,
        with_projection=True,
    ),
}
TEXT_COMMON = dict(vocab_size=1000, max_position_embeddings=77, layer_norm_eps=1e-5, bos_token_id=997, pad_token_id=1)

VISIONS = {
    "vit_h": dict(hidden_act="gelu", patch_size=14, image_size=56),
    "vit_l_vision": dict(hidden_act="quick_gelu", patch_size=8, image_size=32),
}
VISION_COMMON = dict(
    hidden_size=48, intermediate_size=192, num_attention_heads=4, num_hidden_layers=3, projection_dim=24, num_channels=3
)


def text_name(name):
    """Returns the name in checkpoints; transformers 5 omits the prefix text_model of CLIPTextModel's parameters."""
    return name if name.startswith(("text_model.", "text_projection.")) else "text_model." + name


def write(folder, name, model, config, cases, tensors, name_on_disk=lambda name: name):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.safetensors").chmod(0o644)
    parameters = {name_on_disk(n): list(p.shape) for n, p in model.named_parameters()}
    lines = ["{", f' "config": {json.dumps(config, default=list)},']
    lines += [' "cases": [', ",\n".join(f"  {json.dumps(c)}" for c in cases), " ],"]
    lines += [' "parameters": {', ",\n".join(f"  {json.dumps(n)}: {s}" for n, s in parameters.items()), " }", "}"]
    (folder / f"{name}.json").write_text("\n".join(lines) + "\n")
    print(name, sum(p.numel() for p in model.parameters()), "parameters")


def inputs(k, draw, **shapes):
    prefix = synthetic.draw_prefix(k, draw)
    return [torch.from_numpy(synthetic.normal_like(prefix + name, shape)) for name, shape in shapes.items()]


def described(case, draws, run, model, inputs_of):
    """Returns the case with the error of the model in bfloat16 over its draws, and the results of draw 0 in float32.

    run(model, inputs) returns the results by name, inputs_of(draw) the inputs in float32.
    """
    bf16_model = copy.deepcopy(model).bfloat16()
    first, errors = None, []
    for draw in range(draws):
        given = inputs_of(draw)
        results = run(model, given)
        first = first or results
        rounded = run(bf16_model, [x.bfloat16() if x.is_floating_point() else x for x in given])
        errors.append({n: synthetic.relative_error(rounded[n], r) for n, r in results.items()})
    return dict(case, bf16_draws=draws, bf16_error=synthetic.root_mean_squares(errors)), first


def run_vae(model, pixels, latents, tiled):
    posterior = model.encode(pixels).latent_dist
    results = dict(mean=posterior.mean, logvar=posterior.logvar, decoded=model.decode(latents).sample)
    if tiled:
        model.enable_tiling()
        posterior = model.encode(pixels).latent_dist
        results.update(tiled_mean=posterior.mean, tiled_logvar=posterior.logvar)
        results.update(tiled_decoded=model.decode(latents).sample)
        model.disable_tiling()
    return results


@torch.no_grad()
def vae(name, config):
    model = synthetic.fill(AutoencoderKL(**config)).eval()
    scale = 2 ** (len(config["block_out_channels"]) - 1)
    cases, tensors = [], {}
    for k, case in enumerate(VAE_CASES):
        b, h, w = case["batch"], case["height"], case["width"]
        shapes = dict(pixels=[b, 3, h, w], latents=[b, 4, h // scale, w // scale])
        case, results = described(
            case,
            VAE_DRAWS,
            lambda model, given: run_vae(model, *given, case.get("tiled", False)),
            model,
            lambda draw: inputs(k, draw, **shapes),
        )
        cases.append(case)
        tensors.update({f"case{k}.{n}": r for n, r in results.items()})
    shown = {k: v for k, v in model.config.items() if not k.startswith("_")}
    write(OUT / "vae", name, model, dict(shown, _class_name="AutoencoderKL"), cases, tensors)


def text_ids(k, draw, lengths):
    """Returns a row of 77 ids per length: start token, words from the draw's numbers called ids.ROW, end token, padding."""
    end, rows = 998, []
    for r, length in enumerate(lengths):
        words = [int(abs(x) * 900) for x in synthetic.uniform(f"{synthetic.draw_prefix(k, draw)}ids.{r}", length)]
        ids = [997] + words[1 : length - 1] + [end]
        # Padding with the end token, as the first tokenizer of every pipeline does; row 0 of case 1 pads with 0.
        rows.append(ids + [0 if (k, r) == (1, 0) else end] * (77 - len(ids)))
    return rows


def run_text(model, ids, projection):
    output = model(ids, output_hidden_states=True)
    results = dict(last_hidden_state=output.last_hidden_state, penultimate=output.hidden_states[-2])
    if projection:
        results["text_embeds"] = output.text_embeds
    else:
        results["pooled"] = output.pooler_output
    return results


@torch.no_grad()
def text(name, config):
    config = dict(TEXT_COMMON, **config)
    projection = config.pop("with_projection", False)
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    model = synthetic.fill(kind(CLIPTextConfig(**config)), text_name).eval()
    cases, tensors = [], {}
    for k, lengths in enumerate([[77], [5, 77, 2]]):
        case, results = described(
            dict(ids=text_ids(k, 0, lengths)),
            CLIP_DRAWS,
            lambda model, given: run_text(model, *given, projection),
            model,
            lambda draw: [torch.tensor(text_ids(k, draw, lengths))],
        )
        cases.append(case)
        tensors.update({f"case{k}.{n}": r for n, r in results.items()})
    write(OUT / "clip", name, model, dict(config, architectures=[kind.__name__]), cases, tensors, text_name)


def run_vision(model, pixels):
    output = model(pixels)
    return dict(image_embeds=output.image_embeds, last_hidden_state=output.last_hidden_state)


@torch.no_grad()
def vision(name, config):
    config = dict(VISION_COMMON, **config)
    model = synthetic.fill(CLIPVisionModelWithProjection(CLIPVisionConfig(**config))).eval()
    cases, tensors = [], {}
    for k, batch in enumerate([1, 3]):
        shapes = dict(pixel_values=[batch, 3, config["image_size"], config["image_size"]])
        case, results = described(
            dict(batch=batch),
            CLIP_DRAWS,
            lambda model, given: run_vision(model, *given),
            model,
            lambda draw: inputs(k, draw, **shapes),
        )
        cases.append(case)
        tensors.update({f"case{k}.{n}": r for n, r in results.items()})
    write(OUT / "clip", name, model, dict(config, architectures=["CLIPVisionModelWithProjection"]), cases, tensors)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(2)
    for name, config in VAES.items():
        vae(name, config)
    for name, config in TEXTS.items():
        text(name, config)
    for name, config in VISIONS.items():
        vision(name, config)
    for folder in ("vae", "clip"):
        synthetic.write_sums(OUT / folder)
