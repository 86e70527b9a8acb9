"""How far diffusers' own bfloat16 is from its float32: the yardstick for ours.

    python tools/golden/unet_bf16.py       writes native/test/golden/unet/bf16.json and SHA256SUMS

Pinned: torch 2.11.0, diffusers 0.42.1. The models and case 0 of unet.py, on the CPU with 2 threads. Per family:
  output    |bf16 - f32| / |f32| of the prediction
  gradient  likewise of all parameters' gradients as one vector
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from unet import CASES, FAMILIES, OUT


def run(config, dtype):
    model = synthetic.fill(UNet2DConditionModel(**config)).train().to(dtype)
    case = CASES[0]
    batch = len(case["timesteps"])
    dims = dict(
        sample=[batch, 4, case["height"], case["width"]],
        encoder_hidden_states=[batch, case["tokens"], config["cross_attention_dim"]],
        cotangent=[batch, 4, case["height"], case["width"]],
    )
    if "addition_embed_type" in config:
        dims["text_embeds"] = [batch, 12]
        dims["time_ids"] = [batch, (config["projection_class_embeddings_input_dim"] - 12) // 8]
    values = {n: torch.from_numpy(synthetic.normal_like(f"case0.{n}", s)) for n, s in dims.items()}
    added = None
    if "time_ids" in dims:
        time_ids = torch.round((values.pop("time_ids") / 3**0.5 + 1) * 512)
        added = dict(text_embeds=values["text_embeds"].to(dtype), time_ids=time_ids)
    values = {n: v.to(dtype) for n, v in values.items()}
    output = model(
        values["sample"], torch.tensor(case["timesteps"]), values["encoder_hidden_states"], added_cond_kwargs=added
    ).sample
    (output * values["cotangent"]).sum().backward()
    gradient = torch.cat([p.grad.reshape(-1).double() for p in model.parameters()])
    return output.detach().double(), gradient


if __name__ == "__main__":
    torch.set_num_threads(2)
    errors = {}
    for family, config in FAMILIES.items():
        wide, narrow = run(config, torch.float32), run(config, torch.bfloat16)
        errors[family] = {
            name: ((b - a).norm() / a.norm()).item() for name, a, b in zip(("output", "gradient"), wide, narrow)
        }
        print(family, errors[family])
    (OUT / "bf16.json").write_text(json.dumps(errors, indent=1) + "\n")
    synthetic.write_sums(OUT)
