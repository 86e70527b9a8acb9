"""Golden latents and images of diffusers' text-to-image pipelines on tiny models of SD 1, SD 2 and SDXL base.

    python tools/golden/pipeline.py [SET ...]    writes SET.json and SET.safetensors, of the sets pipeline and
                                                 more_samplers (all by default;
                                                 each has its own pins, VERSIONS), and SHA256SUMS into
                                                 java/src/test/resources/org/smpo/generate/pipeline

Pinned per set: VERSIONS. Weights, adapters and initial latents come from
synthetic.py by name (a parameter's in its component, as checkpoints have it), so the files hold configs, cases and
results. The tokenizers' vocabulary is that of clip_tokenizer.py. float32, 20 steps.

SET.json, per model: its family, configs, scheduler, the rest of model_index.json, and its cases:
  sampler, prompts, guidance_scale, guidance_rescale, clip_skip   arguments of the call
  negative    one negative prompt per prompt, or null: none is given
  lora        null, or the weight of the adapters under "lora" (rank, and the shapes of each module's A and B)
  bf16_error  relative L2 error of the same pipeline wholly in bfloat16, where it was run
  scheduler   keys with other values in this case
SET.safetensors, per model and case K:
  MODEL.K.latents  [B, 4, 6, 5]       the sampler's last latents
  MODEL.K.image    [B, 48, 40, 3] U8  the decoded images
Initial latents are normal_like("MODEL.K.latents", [B, 4, 6, 5]).
"""

import json
import sys
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import peft
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from unet import FAMILIES
from vae_clip import VAES, text_name

RESOURCES = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo"
OUT = RESOURCES / "generate/pipeline"
HEIGHT, WIDTH, STEPS = 48, 40, 20
SAMPLERS = dict(ddim=DDIMScheduler, euler=EulerDiscreteScheduler, dpmpp_2m=DPMSolverMultistepScheduler, pndm=PNDMScheduler)
# Ancestral Euler is not here: its noise is our own.
MORE_SAMPLERS = dict(
    SAMPLERS, euler_karras=EulerDiscreteScheduler, dpmpp_2m_karras=DPMSolverMultistepScheduler,
    unipc=UniPCMultistepScheduler, unipc_karras=UniPCMultistepScheduler,
)

# Schedules of the published models.
SCHEDULER = dict(
    _class_name="PNDMScheduler", _diffusers_version="0.42.1",
    num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", trained_betas=None,
    clip_sample=False, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, prediction_type="epsilon",
)
TEXT = dict(
    vocab_size=3314, max_position_embeddings=77, layer_norm_eps=1e-5, num_hidden_layers=3, bos_token_id=3312, pad_token_id=1
)
SD1_TEXT = dict(
    TEXT, hidden_act="quick_gelu", hidden_size=20, intermediate_size=80, num_attention_heads=4, projection_dim=20,
    eos_token_id=2,
)
SD2_TEXT = dict(SD1_TEXT, hidden_act="gelu", num_attention_heads=5)
XL_TEXT = dict(SD1_TEXT, hidden_size=8, intermediate_size=32, num_attention_heads=2, projection_dim=8)
# A real end token: the pooled output is taken at its first place, which the rule for 2 (the largest id) finds as well.
XL_TEXT_2 = dict(
    TEXT, hidden_act="gelu", hidden_size=12, intermediate_size=48, num_attention_heads=3, projection_dim=12,
    num_hidden_layers=4, eos_token_id=3313,
)
SD1 = dict(family="sd1", unet="sd1", texts=dict(text_encoder=SD1_TEXT), scaling_factor=0.18215, scheduler=SCHEDULER)
SDXL = dict(
    family="sdxl", unet="sdxl", texts=dict(text_encoder=XL_TEXT, text_encoder_2=XL_TEXT_2), scaling_factor=0.13025,
    scheduler=dict(SCHEDULER, _class_name="EulerDiscreteScheduler", timestep_spacing="leading"), index=dict(force_zeros_for_empty_prompt=True),
)

ASTRONAUT = "a photo of an astronaut riding a horse on mars"
CATS = "two cats! oil on canvas, by the window"
LONG = "a very long prompt of a lighthouse in the storm, " * 12
UGLY = "ugly, blurry!!"


def case(sampler="ddim", prompts=(ASTRONAUT,), negative=None, **more):
    return dict(
        dict(sampler=sampler, prompts=list(prompts), negative=negative, guidance_scale=7.5, guidance_rescale=0.0,
             clip_skip=0, lora=None, scheduler={}, bf16=False),
        **more,
    )


PLAIN = [case(sampler, bf16=sampler == "euler") for sampler in SAMPLERS]
VARIED = PLAIN + [
    case("euler", [ASTRONAUT, CATS], [UGLY, ""]),
    case("dpmpp_2m", [CATS, CATS, LONG], [UGLY] * 3, guidance_rescale=0.7),
    case("pndm", [""], None, guidance_scale=1.0),
    case("ddim", [CATS], [UGLY], clip_skip=1),
    case("euler", [ASTRONAUT, CATS], None, lora=0.7),
    case("dpmpp_2m", scheduler=dict(use_karras_sigmas=True, timestep_spacing="trailing")),
]
MODELS = {
    "sd1": dict(SD1, cases=VARIED),
    # The pipeline of SD 1 and 2 corrects errors of old configs.
    "sd1_old": dict(SD1, scheduler=dict(SCHEDULER, steps_offset=0, clip_sample=True), cases=[case("ddim"), case("pndm")]),
    "sd1_bare": dict(
        SD1, scheduler={k: v for k, v in SCHEDULER.items() if k not in ("steps_offset", "clip_sample")},
        cases=[case("ddim"), case("euler")],
    ),
    "sd2": dict(
        SD1, family="sd2", unet="sd2", texts=dict(text_encoder=SD2_TEXT),
        scheduler=dict(SCHEDULER, _class_name="DDIMScheduler", prediction_type="v_prediction"), cases=VARIED,
    ),
    "sdxl": dict(SDXL, cases=VARIED),
    "sdxl_no_zeros": dict(SDXL, index=dict(force_zeros_for_empty_prompt=False), cases=[case("euler")]),
}
RUNGE_KUTTA = dict(skip_prk_steps=False)
MORE = [
    case("euler_karras"), case("dpmpp_2m_karras"), case("unipc", [CATS, ""], [UGLY, ""]), case("unipc_karras"),
    case("unipc", scheduler=dict(solver_order=3, timestep_spacing="trailing")), case("pndm", scheduler=RUNGE_KUTTA),
]
VERSIONS = dict(
    pipeline=dict(torch="2.11.0", diffusers="0.42.1", transformers="5.23.0", peft="0.21.2"),
    more_samplers=dict(torch="2.12.1", diffusers="0.42.1", transformers="5.24.0", peft="0.21.2"),
)
SETS = {"pipeline": MODELS, "more_samplers": {name: dict(MODELS[name], cases=MORE) for name in ("sd1", "sd2", "sdxl")}}
# Some attention and convolution layers of each model, with PEFT's names.
RANK = 2
ADAPTED = {
    "unet": [
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
        "mid_block.attentions.0.transformer_blocks.0.ff.net.2",
        "mid_block.resnets.0.conv1",
        "up_blocks.1.attentions.0.proj_in",
    ],
    "text_encoder": ["text_model.encoder.layers.0.self_attn.q_proj", "text_model.encoder.layers.1.mlp.fc1"],
    "text_encoder_2": ["text_model.encoder.layers.1.self_attn.v_proj", "text_model.encoder.layers.2.mlp.fc2"],
}


def tokenizer(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((RESOURCES / "network/tokenizer" / name).read_bytes())
    (folder / "tokenizer_config.json").write_bytes((RESOURCES / "network/tokenizer" / config).read_bytes())
    return CLIPTokenizer.from_pretrained(str(folder))


def build(model, temporary):
    """Returns the components of a pipeline by name."""
    parts = dict(
        unet=UNet2DConditionModel(**FAMILIES[model["unet"]]),
        vae=AutoencoderKL(**dict(VAES["f8"], scaling_factor=model["scaling_factor"])),
    )
    for name, config in model["texts"].items():
        kind = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
        parts[name] = kind(CLIPTextConfig(**config))
        files = "second.json" if name == "text_encoder_2" else "first.json"
        parts[name.replace("text_encoder", "tokenizer")] = tokenizer(temporary / files, files)
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            synthetic.fill(part, text_name if name.startswith("text") else lambda n: n).eval()
    return parts


def adapters(parts):
    """Returns a state dict with PEFT's names."""
    state = {}
    for component, modules in ADAPTED.items():
        if component not in parts:
            continue
        weights = {text_name(n) if component != "unet" else n: p for n, p in parts[component].named_parameters()}
        for module in modules:
            shape = list(weights[module + ".weight"].shape)
            name = f"{component}.{module}"
            for half, own in (("lora_A", [RANK, *shape[1:]]), ("lora_B", [shape[0], RANK] + [1] * len(shape[2:]))):
                key = f"{name}.{half}.weight"
                state[key] = torch.from_numpy(synthetic.tensor(key, own))
    return state


def assemble(model, parts, scheduler):
    """Returns the pipeline of a model."""
    if model["family"] == "sdxl":
        pipe = StableDiffusionXLPipeline(**parts, scheduler=scheduler, add_watermarker=False, **model["index"])
    else:
        pipe = StableDiffusionPipeline(
            **parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(model, case, latents, temporary, dtype):
    parts = build(model, temporary)
    config = dict(model["scheduler"], **case["scheduler"])
    if case["sampler"].endswith("_karras"):
        config["use_karras_sigmas"] = True
    scheduler = MORE_SAMPLERS[case["sampler"]].from_config(config)
    pipe = assemble(model, parts, scheduler)
    if case["clip_skip"]:
        # diffusers 0.42.1 looks for the final norm in text_model, where transformers 5 no longer has it.
        object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    if case["lora"] is not None:
        pipe.load_lora_weights(adapters(parts), adapter_name="tiny")
        pipe.set_adapters(["tiny"], [case["lora"]])
        listed = {n for n, m in pipe.get_list_adapters().items() if m}
        assert listed == {"unet", *model["texts"]}, listed
    pipe.to(dtype)
    arguments = dict(
        prompt=case["prompts"], negative_prompt=case["negative"], height=HEIGHT, width=WIDTH, num_inference_steps=STEPS,
        guidance_scale=case["guidance_scale"], guidance_rescale=case["guidance_rescale"],
        clip_skip=case["clip_skip"] or None, latents=latents.to(dtype),
    )
    with torch.no_grad():
        final = pipe(**arguments, output_type="latent").images
        image = pipe.image_processor.postprocess(
            pipe.vae.decode(final / pipe.vae.config.scaling_factor, return_dict=False)[0], output_type="pil"
        )
    return final.float(), torch.from_numpy(np.stack([np.asarray(i) for i in image]))


def shown(config):
    return {k: v for k, v in dict(config).items() if not k.startswith("_")}


def main():
    versions = dict(
        torch=torch.__version__.split("+")[0], diffusers=diffusers.__version__, transformers=transformers.__version__,
        peft=peft.__version__,
    )
    for name in sys.argv[1:] or SETS:
        assert versions == VERSIONS[name], (name, versions)
    # One thread, because synchronization would cost more than networks this small.
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    OUT.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or SETS:
        write(name, SETS[name])
    synthetic.write_sums(OUT)


def write(set_name, models):
    golden, tensors = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, model in models.items():
            parts = build(model, Path(temporary))
            configs = dict(
                unet=dict(shown(parts["unet"].config), _class_name="UNet2DConditionModel"),
                vae=dict(shown(parts["vae"].config), _class_name="AutoencoderKL"),
            )
            for text, config in model["texts"].items():
                kind = type(parts[text]).__name__
                configs[text] = dict(config, architectures=[kind], model_type="clip_text_model")
            cases = []
            for k, case in enumerate(model["cases"]):
                shape = [len(case["prompts"]), 4, HEIGHT // 8, WIDTH // 8]
                latents = torch.from_numpy(synthetic.normal_like(f"{name}.{k}.latents", shape))
                final, image = run(model, case, latents, Path(temporary), torch.float32)
                assert torch.isfinite(final).all()
                case = dict(case)
                if case.pop("bf16"):
                    narrow, _ = run(model, case, latents, Path(temporary), torch.bfloat16)
                    error = ((narrow - final).double().norm() / final.double().norm()).item()
                    case["bf16_error"] = float(f"{error:.3g}")
                cases.append(case)
                tensors[f"{name}.{k}.latents"] = final.contiguous()
                tensors[f"{name}.{k}.image"] = image.contiguous()
                spread = image.float().std().item()
                print(name, k, case["sampler"], f"latents {final.std():.3f}, pixels {spread:.1f}", case.get("bf16_error"))
                # An image of one colour, or a clamped one, would not detect errors.
                assert 5 < spread < 120
            lora = {k: list(v.shape) for k, v in adapters(parts).items()}
            golden[name] = dict(
                family=model["family"], scheduler=model["scheduler"], index=model.get("index", {}), configs=configs,
                lora=lora, cases=cases,
            )
    save_file(tensors, OUT / f"{set_name}.safetensors")
    (OUT / f"{set_name}.safetensors").chmod(0o644)
    lines = []
    for name, model in golden.items():
        fields = [f'  {json.dumps(k)}: {json.dumps(v, default=list)}' for k, v in model.items() if k != "cases"]
        fields.append('  "cases": [\n' + ",\n".join(f"   {json.dumps(c)}" for c in model["cases"]) + "\n  ]")
        lines.append(f" {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n }")
    head = f' "height": {HEIGHT},\n "width": {WIDTH},\n "steps": {STEPS},\n "models": {{\n'
    (OUT / f"{set_name}.json").write_text("{\n" + head + ",\n".join(lines) + "\n }\n}\n")


if __name__ == "__main__":
    main()
