"""Writes the last latents of cases on pipeline.py's models, for the makers whose cases are calls of diffusers' pipelines.

Pinned: torch 2.12.1, diffusers 0.42.1, transformers 5.24.0.
"""

import json
import tempfile
from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import save_file

import synthetic
from pipeline import HEIGHT, MODELS, RESOURCES, WIDTH

VERSIONS = dict(torch="2.12.1", diffusers="0.42.1", transformers="5.24.0")
# Keys of pipeline.py's cases that these cases do not vary.
UNUSED = ("bf16", "lora", "scheduler", "clip_skip")


def write(name, label, cases, run, shown):
    """Writes {name}.json, {name}.safetensors and SHA256SUMS.

    The initial latents of case K are normal_like("MODEL.{label}.K.latents"); `run` returns the last ones, and `shown` names
    the keys of a case to print.
    """
    versions = dict(
        torch=torch.__version__.split("+")[0], diffusers=diffusers.__version__, transformers=transformers.__version__
    )
    assert versions == VERSIONS, versions
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    out = RESOURCES / "generate" / name
    out.mkdir(parents=True, exist_ok=True)
    lines, tensors = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        for model in ("sd1", "sd2", "sdxl"):
            texts = []
            for k, one in enumerate(cases):
                shape = [len(one["prompts"]), 4, HEIGHT // 8, WIDTH // 8]
                latents = torch.from_numpy(synthetic.normal_like(f"{model}.{label}.{k}.latents", shape))
                final = run(MODELS[model], one, latents, Path(temporary))
                assert torch.isfinite(final).all()
                tensors[f"{model}.{k}.latents"] = final.contiguous()
                texts.append(json.dumps({key: value for key, value in one.items() if key not in UNUSED}))
                print(model, k, *(one[key] for key in shown), f"latents {final.std():.3f}")
            lines.append(f" {json.dumps(model)}: [\n" + ",\n".join(f"  {text}" for text in texts) + "\n ]")
    save_file(tensors, out / f"{name}.safetensors")
    (out / f"{name}.safetensors").chmod(0o644)
    (out / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    synthetic.write_sums(out)
