"""Golden outputs and gradients of tiny UNet2DConditionModels of every family, computed by diffusers 0.42.1 in float32.

    python tools/golden/unet.py            writes native/test/golden/unet/{FAMILY.json, FAMILY.safetensors, SHA256SUMS}

Pinned: torch 2.11.0, diffusers 0.42.1, safetensors. Weights and inputs come from synthetic.py by name, so the files hold
the config, the cases and the results. Per case K:
  caseK.output                the prediction [B, 4, h, w]
  caseK.grad.sample           gradient of loss = sum(output * caseK.cotangent) to the latents
  caseK.grad.PARAMETER        up to 24 evenly strided entries of that parameter's gradient (index i * n // 24)
  caseK.norm                  [parameters] L2 norm of each parameter's gradient, in the order of named_parameters
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import synthetic

OUT = Path(__file__).resolve().parents[2] / "native/test/golden/unet"

COMMON = dict(sample_size=16, in_channels=4, out_channels=4, norm_num_groups=8, norm_eps=1e-5, act_fn="silu")
FAMILIES = {
    # SD 1.x: four levels, attention in the first three, 1x1 convolutions around the transformer, heads given as a number.
    "sd1": dict(
        COMMON,
        block_out_channels=[16, 24, 32, 32],
        down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        layers_per_block=2,
        attention_head_dim=2,
        cross_attention_dim=20,
    ),
    # SD 2.x: linear projections, heads per level.
    "sd2": dict(
        COMMON,
        block_out_channels=[16, 32, 32, 32],
        down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        layers_per_block=1,
        attention_head_dim=[2, 4, 4, 4],
        cross_attention_dim=20,
        use_linear_projection=True,
    ),
    # SDXL base: three levels, transformers of different depth, text and size conditioning.
    "sdxl": dict(
        COMMON,
        block_out_channels=[16, 32, 48],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        layers_per_block=2,
        transformer_layers_per_block=[1, 2, 3],
        attention_head_dim=[2, 4, 6],
        cross_attention_dim=20,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=12 + 6 * 8,
    ),
    # SDXL refiner: four levels, attention in the middle two, five size numbers.
    "refiner": dict(
        COMMON,
        block_out_channels=[16, 32, 48, 48],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        layers_per_block=1,
        transformer_layers_per_block=2,
        attention_head_dim=[2, 4, 6, 6],
        cross_attention_dim=20,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=12 + 5 * 8,
    ),
}
CASES = [
    dict(height=16, width=16, timesteps=[981], tokens=77),
    dict(height=13, width=9, timesteps=[-199, 999], tokens=77),
    dict(height=8, width=24, timesteps=[0, 401, 17], tokens=154),
]


def case_inputs(config, k, draw=0):
    """Shapes and values by name of case k's inputs and of the cotangent of its output."""
    case = CASES[k]
    batch = len(case["timesteps"])
    shapes = dict(
        sample=[batch, 4, case["height"], case["width"]],
        encoder_hidden_states=[batch, case["tokens"], config["cross_attention_dim"]],
        cotangent=[batch, 4, case["height"], case["width"]],
    )
    if "addition_embed_type" in config:
        shapes["text_embeds"] = [batch, 12]
        shapes["time_ids"] = [batch, (config["projection_class_embeddings_input_dim"] - 12) // 8]
    prefix = synthetic.draw_prefix(k, draw)
    values = {n: torch.from_numpy(synthetic.normal_like(prefix + n, s)) for n, s in shapes.items()}
    if "time_ids" in values:
        # Sizes and crops in pixels: whole numbers up to 1024.
        values["time_ids"] = torch.round((values["time_ids"] / 3**0.5 + 1) * 512)
    return shapes, values


def forward(model, k, values):
    added = {n: values[n] for n in ("text_embeds", "time_ids") if n in values}
    return model(
        values["sample"],
        torch.tensor(CASES[k]["timesteps"]),
        values["encoder_hidden_states"],
        added_cond_kwargs=added or None,
    ).sample


def run(family, config):
    model = synthetic.fill(UNet2DConditionModel(**config)).train()
    tensors, cases = {}, []
    for k, case in enumerate(CASES):
        dims, values = case_inputs(config, k)
        sample = values["sample"].requires_grad_()
        model.zero_grad()
        output = forward(model, k, values)
        (output * values["cotangent"]).sum().backward()
        tensors[f"case{k}.output"] = output.detach().contiguous()
        tensors[f"case{k}.grad.sample"] = sample.grad.contiguous()
        norms = []
        for name, parameter in model.named_parameters():
            gradient = parameter.grad.reshape(-1)
            norms.append(gradient.double().norm().item())
            keep = min(24, gradient.numel())
            index = torch.arange(keep) * gradient.numel() // keep
            tensors[f"case{k}.grad.{name}"] = gradient[index].contiguous()
        tensors[f"case{k}.norm"] = torch.tensor(norms, dtype=torch.float64)
        cases.append(dict(case, shapes=dims))
    save_file(tensors, OUT / f"{family}.safetensors")
    parameters = {n: list(p.shape) for n, p in model.named_parameters()}
    config = {k: v for k, v in model.config.items() if not k.startswith("_")}
    lines = ["{", f' "config": {json.dumps(dict(config, _class_name="UNet2DConditionModel"), default=list)},']
    lines += [' "cases": [', ",\n".join(f"  {json.dumps(c)}" for c in cases), " ],"]
    lines += [' "parameters": {', ",\n".join(f"  {json.dumps(n)}: {s}" for n, s in parameters.items()), " }", "}"]
    text = "\n".join(lines)
    (OUT / f"{family}.json").write_text(text + "\n")
    print(family, sum(p.numel() for p in model.parameters()), "parameters")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(2)
    OUT.mkdir(parents=True, exist_ok=True)
    for family, config in FAMILIES.items():
        run(family, config)
    synthetic.write_sums(OUT)
