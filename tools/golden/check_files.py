"""Checks with diffusers that other tools can read the files that `smpo convert` writes.

    python tools/golden/check_files.py COMMAND...      COMMAND runs smpo, such as tools/smpo; prints what was compared

Pinned: diffusers 0.42.1, transformers 5.23.0, peft 0.21.2, torch 2.11.0. Nothing here is needed to build or test; the
output of one run is check_files.txt beside this file. Tiny pipelines of each family are made and saved by diffusers, with
random weights. All comparisons are bit for bit unless a tolerance is printed.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import peft
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()
ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "native/test/golden"
SMPO = sys.argv[1:]


def smpo(*arguments):
    run = subprocess.run([*SMPO, *map(str, arguments)], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"smpo {' '.join(map(str, arguments))}: {run.returncode}\n{run.stderr}")


def tokenizer(folder):
    folder.mkdir()
    letters = [chr(c) for c in range(33, 127)]
    words = letters + [c + "</w>" for c in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def text(name, kind):
    config = json.loads((GOLDEN / f"clip/{name}.json").read_text())["config"]
    return kind(CLIPTextConfig(**{k: v for k, v in config.items() if k != "architectures"})).eval()


def make(family, folder):
    torch.manual_seed(7)
    names = dict(sd1="sd1", sd2="sd2", sdxl="sdxl", refiner="refiner")
    unet = json.loads((GOLDEN / f"unet/{names[family]}.json").read_text())["config"]
    # The goldens' UNets and text towers have different widths; these match.
    unet["cross_attention_dim"] = dict(sd1=48, sd2=40, sdxl=48 + 40, refiner=40)[family]
    if family in ("sdxl", "refiner"):
        unet["projection_class_embeddings_input_dim"] = 24 + unet["addition_time_embed_dim"] * (6 if family == "sdxl" else 5)
    vae = json.loads((GOLDEN / "vae/f8.json").read_text())["config"]
    parts = dict(unet=UNet2DConditionModel.from_config(unet), vae=AutoencoderKL.from_config(vae))
    token = lambda n: tokenizer(folder.parent / f"{folder.name}-{n}")
    betas = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    if family in ("sd1", "sd2"):
        kind = "vit_l" if family == "sd1" else "open_clip"
        pipe = StableDiffusionPipeline(
            **parts, text_encoder=text(kind, CLIPTextModel), tokenizer=token("t"), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
            scheduler=PNDMScheduler(**betas, skip_prk_steps=True, prediction_type="epsilon"),
        )
    else:
        kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionXLImg2ImgPipeline
        first = family == "sdxl"
        pipe = kind(
            **parts, text_encoder=text("vit_l", CLIPTextModel) if first else None, tokenizer=token("t") if first else None,
            text_encoder_2=text("open_clip", CLIPTextModelWithProjection), tokenizer_2=token("t2"),
            scheduler=EulerDiscreteScheduler(**betas, timestep_spacing="leading"),
        )
    for part in networks(pipe).values():
        for parameter in part.parameters():
            parameter.data.normal_(std=0.1)
    pipe.save_pretrained(folder)
    return pipe


def networks(pipe):
    return {k: v for k, v in pipe.components.items() if isinstance(v, torch.nn.Module)}


def same(what, actual, expected):
    assert set(actual) == set(expected), (what, sorted(set(actual) ^ set(expected))[:10])
    for name, value in expected.items():
        other = actual[name]
        assert other.shape == value.shape and other.dtype == value.dtype, (what, name, other.shape, value.shape, other.dtype)
        assert torch.equal(other, value), (what, name, (other - value).abs().max())
    print(f"  {what}: {len(expected)} tensors equal")


def states(pipe):
    return {f"{c}.{n}": p.detach() for c, m in networks(pipe).items() for n, p in m.named_parameters()}


def folders(family, pipe, folder, temporary):
    expected = states(pipe)
    out = temporary / f"{family}-plain"
    smpo("convert", folder, out, "--to", "diffusers")
    kind = type(pipe)
    same("folder, unchanged", states(kind.from_pretrained(out)), expected)
    for file in folder.rglob("*.json"):
        assert (out / file.relative_to(folder)).read_bytes() == file.read_bytes(), file
    for file in folder.rglob("*.safetensors"):
        # transformers 5 omits the prefix `text_model.` of CLIPTextModel; we write it, because earlier versions require it.
        bare = lambda path: {k.removeprefix("text_model."): v for k, v in load_file(path).items()}
        same(f"{file.relative_to(folder)}", bare(out / file.relative_to(folder)), bare(file))
    for name, dtype in dict(fp16=torch.float16, bf16=torch.bfloat16).items():
        out = temporary / f"{family}-{name}"
        smpo("convert", folder, out, "--to", "diffusers", "--dtype", name, "--variant", name, "--max-shard-size", 150000)
        loaded = kind.from_pretrained(out, variant=name, torch_dtype=dtype)
        same(f"folder, {name} variant in shards", states(loaded), {k: v.to(dtype) for k, v in expected.items()})
    if family in ("sd1", "sdxl"):
        again = kind.from_pretrained(temporary / f"{family}-plain")
        arguments = dict(prompt="a cat", num_inference_steps=2, output_type="latent", height=128, width=128)
        images = [
            p(**arguments, generator=torch.Generator().manual_seed(1)).images for p in (pipe, again) if not p.set_progress_bar_config(disable=True)
        ]
        assert torch.equal(*images)
        print("  folder, unchanged: two steps of the pipeline give equal latents")


def checkpoint(family, pipe, folder, temporary):
    file = temporary / f"{family}.safetensors"
    smpo("convert", folder, file, "--to", "single-file")
    theirs = load_file(file)
    same("checkpoint's UNet", convert_ldm_unet_checkpoint(dict(theirs), dict(pipe.unet.config)), pipe.unet.state_dict())
    same("checkpoint's VAE", convert_ldm_vae_checkpoint(dict(theirs), dict(pipe.vae.config)), pipe.vae.state_dict())
    expected = {"text_model." + k.removeprefix("text_model."): v for k, v in getattr(pipe, "text_encoder", None).state_dict().items()} if getattr(pipe, "text_encoder", None) else {}
    if family == "sd2":
        got = convert_open_clip_checkpoint(pipe.text_encoder, dict(theirs), "cond_stage_model.model.")
    elif expected:
        got = convert_ldm_clip_checkpoint(dict(theirs))
    if expected:
        same("checkpoint's text encoder", got, expected)
    if family in ("sdxl", "refiner"):
        prefix = f"conditioner.embedders.{1 if family == 'sdxl' else 0}.model."
        second = pipe.text_encoder_2
        # diffusers splits q, k and v by the projection's width, which equals the model's width in the published model.
        narrow = {k: v for k, v in theirs.items() if not k.endswith("text_projection")}
        got = convert_open_clip_checkpoint(second, narrow, prefix)
        wanted = dict(second.state_dict())
        projection = wanted.pop("text_projection.weight")
        assert torch.equal(theirs[prefix + "text_projection"].T, projection)
        same("checkpoint's second text encoder", got, wanted)
    out = temporary / f"{family}-back"
    smpo("convert", file, out, "--to", "diffusers", "--config", folder)
    same("folder -> checkpoint -> folder", states(type(pipe).from_pretrained(out)), states(pipe))


def adapters(family, folder, temporary, mixed):
    """mixed: with alphas that differ. diffusers gives every module of a kohya file the most frequent one, so those are
    compared in PEFT's form only."""
    kind = StableDiffusionPipeline if family == "sd1" else StableDiffusionXLPipeline
    pipe = kind.from_pretrained(folder)
    torch.manual_seed(9)
    unet = LoraConfig(r=4, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "downsamplers.0.conv", "upsamplers.0.conv", "conv_shortcut", "time_emb_proj"], rank_pattern={"to_k": 3}, alpha_pattern={"to_v": 7} if mixed else {})
    words = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"])
    encoders = [e for e in ("text_encoder", "text_encoder_2") if getattr(pipe, e, None) is not None]
    pipe.unet.add_adapter(unet)
    for e in encoders:
        getattr(pipe, e).add_adapter(words)
    layers, metadata = {}, {}
    for name in ["unet", *encoders]:
        module = getattr(pipe, name)
        for n, p in module.named_parameters():
            if "lora_" in n:
                p.data.normal_(std=0.2)
        layers[name] = get_peft_model_state_dict(module)
        metadata[name] = module.peft_config["default"].to_dict()
    metadata = {n: {k: v for k, v in m.items() if k in ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules")} for n, m in metadata.items()}
    original = temporary / f"{family}-lora-{mixed}"
    kind.save_lora_weights(
        original, layers["unet"], *[layers[e] for e in encoders],
        unet_lora_adapter_metadata=metadata["unet"],
        **{f"{e}_lora_adapter_metadata": metadata[e] for e in encoders},
    )
    first = original / "pytorch_lora_weights.safetensors"
    ours, kohya, back = (temporary / f"{family}-{n}-{mixed}.safetensors" for n in ("peft", "kohya", "back"))
    base = ["--base", family, "--config", folder]
    smpo("convert", first, ours, "--to", "peft")
    bare = lambda path: {k.replace("text_encoder.text_model.", "text_encoder."): v for k, v in load_file(path).items()}
    same("LoRA of diffusers -> PEFT", bare(ours), bare(first))
    smpo("convert", first, kohya, "--to", "kohya", *base)
    smpo("convert", kohya, back, "--to", "peft", *base[2:])
    same("LoRA -> kohya -> PEFT", load_file(back), load_file(ours))
    with safe_open(ours, "pt") as a, safe_open(back, "pt") as b:
        assert a.metadata()[LORA_ADAPTER_METADATA_KEY] == b.metadata()[LORA_ADAPTER_METADATA_KEY]

    def fused(file):
        p = kind.from_pretrained(folder)
        p.load_lora_weights(file.parent, weight_name=file.name)
        p.fuse_lora(components=["unet", *encoders])
        p.unload_lora_weights()
        return states(p)

    def plain():
        return states(kind.from_pretrained(folder))

    expected = fused(first)
    changed = [n for n, w in plain().items() if not torch.equal(w, expected[n])]
    print(f"  LoRA with {'several alphas' if mixed else 'one alpha'}: changes {len(changed)} weights")
    assert len(changed) == sum(k.endswith("lora_A.weight") for k in load_file(first))
    same("fused weights, our PEFT file", fused(ours), expected)
    if not mixed:
        same("fused weights, our kohya file", fused(kohya), expected)


def main():
    print("diffusers", diffusers.__version__, "transformers", transformers.__version__, "peft", peft.__version__, "torch", torch.__version__)
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        for family in ["sd1", "sd2", "sdxl", "refiner"]:
            print(family)
            folder = temporary / family
            pipe = make(family, folder)
            folders(family, pipe, folder, temporary)
            checkpoint(family, pipe, folder, temporary)
            if family in ("sd1", "sdxl"):
                adapters(family, folder, temporary, True)
                adapters(family, folder, temporary, False)
    print("all equal")


main()
