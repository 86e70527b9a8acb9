"""Error of diffusers' bfloat16 against its float32, with which ours is compared.

    python tools/golden/unet_bf16.py       writes native/test/golden/unet/bf16.json and SHA256SUMS

Pinned: torch 2.11.0, diffusers 0.42.1. The models and cases of unet.py, on the CPU with 2 threads. Per family, a list by
case:
  output    |bf16 - f32| / |f32| of the prediction
  gradient  likewise of all parameters' gradients as one vector
Each is the root mean square over `draws` inputs of the case's shapes, since the error varies by input. Draw 0 is
the case's own input caseK.NAME, draw D is caseK.drawD.NAME.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from unet import CASES, FAMILIES, OUT, case_inputs, forward

DRAWS = 8


def run(model, k, values, dtype):
    # The sizes remain integers, because diffusers embeds them before it rounds.
    values = {n: v if n == "time_ids" else v.to(dtype) for n, v in values.items()}
    model.zero_grad()
    output = forward(model, k, values)
    (output * values["cotangent"]).sum().backward()
    gradient = torch.cat([p.grad.reshape(-1).double() for p in model.parameters()])
    return dict(output=output.detach(), gradient=gradient)


def errors_of(config):
    wide = synthetic.fill(UNet2DConditionModel(**config)).train()
    narrow = copy.deepcopy(wide).bfloat16()
    for k in range(len(CASES)):
        errors = []
        for draw in range(DRAWS):
            values = case_inputs(config, k, draw)[1]
            exact, rounded = run(wide, k, values, torch.float32), run(narrow, k, values, torch.bfloat16)
            errors.append({n: synthetic.relative_error(rounded[n], exact[n]) for n in exact})
        yield synthetic.root_mean_squares(errors)


if __name__ == "__main__":
    torch.set_num_threads(2)
    families = {}
    for family, config in FAMILIES.items():
        families[family] = list(errors_of(config))
        print(family, families[family], flush=True)
    (OUT / "bf16.json").write_text(json.dumps(dict(draws=DRAWS, **families), indent=1) + "\n")
    synthetic.write_sums(OUT)
