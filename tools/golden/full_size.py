"""Agreement with diffusers at full size: UNets of SD 1.5 and SDXL base with random weights, forward and backward.

    JAVA_HOME=... python tools/golden/full_size.py sd15|sdxl SCRATCH LIBSMPO [fp32] [bf16-peer] [bf16]

Pinned: torch 2.11.0, diffusers 0.42.1. Needs java/target/{classes, test-classes, lib} (mvn -pl java package -DskipTests)
and, in SCRATCH, disk space for the weights in bf16: 1.7 GB and 5.1 GB. tools/golden/full_size.txt is
a recorded output. Every phase is a separate process, so that only one model is in memory at a time.

Weights are torch's initial ones with seed 0, rounded to bf16, so that both precisions compute with the same numbers.
Inputs are normal. SD 1.5: latents 64x64 and the gradients of the sample and of every parameter. SDXL: latents 32x32 and
the gradients of the sample and of rank 4 adapters on every attention projection: weights, masters and gradients of all
2.6 billion parameters would take 31 GB. Of each parameter's gradient at most 4096 evenly strided entries are compared.

Both precisions are compared with diffusers' fp32; with bf16-peer, which takes hours on a CPU without bf16 instructions,
bf16 is also compared with diffusers' bf16. Files that exist in SCRATCH are reused.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
SIZES = dict(sd15=("sd1", 64), sdxl=("sdxl", 32))
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
RANK, KEPT = 4, 4096


def config(family):
    name, _ = SIZES[family]
    unet = json.loads((ROOT / f"java/src/main/resources/org/smpo/checkpoint/{name}.json").read_text())["unet"]
    return {k: v for k, v in unet.items() if not k.startswith("_")}


def make(family, scratch):
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = UNet2DConditionModel(**config(family))
    model.save_pretrained(scratch / "unet", max_shard_size="20GB")
    torch.set_default_dtype(torch.float32)
    full, (_, side) = config(family), SIZES[family]
    inputs = dict(
        sample=torch.randn(1, 4, side, side),
        timesteps=torch.tensor([501.0]),
        encoder_hidden_states=torch.randn(1, 77, full["cross_attention_dim"]),
        cotangent=torch.randn(1, 4, side, side),
    )
    if family == "sdxl":
        inputs.update(text_embeds=torch.randn(1, 1280), time_ids=torch.tensor([[256.0, 256, 0, 0, 256, 256]]))
        for name, module in model.named_modules():
            if name.endswith(TARGETS) and isinstance(module, torch.nn.Linear):
                a = torch.randn(RANK, module.in_features) / module.in_features**0.5
                b = torch.randn(module.out_features, RANK) / 8
                inputs.update({f"adapter.{name}.lora_A.weight": a, f"adapter.{name}.lora_B.weight": b})
    save_file(inputs, scratch / "inputs.safetensors")
    print(family, sum(p.numel() for p in model.parameters()), "parameters", sum("lora_A" in k for k in inputs), "adapters")


def kept(gradient):
    flat = gradient.float().reshape(-1)
    keep = min(KEPT, flat.numel())
    return flat[torch.arange(keep) * flat.numel() // keep].clone()


def reference(family, scratch, precision):
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    model = UNet2DConditionModel.from_pretrained(scratch / "unet", torch_dtype=dtype).eval()
    inputs = load_file(scratch / "inputs.safetensors")
    if family == "sdxl":
        from peft import LoraConfig

        model.requires_grad_(False)
        model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(TARGETS)))
        model.to(dtype)
        with torch.no_grad():
            found = 0
            for name, parameter in model.named_parameters():
                if ".lora_" in name:
                    parameter.copy_(inputs["adapter." + name.replace(".default", "")])
                    found += 1
        assert found == sum(k.startswith("adapter.") for k in inputs)
    sample = inputs["sample"].to(dtype).requires_grad_()
    added = None
    if "time_ids" in inputs:
        added = dict(text_embeds=inputs["text_embeds"].to(dtype), time_ids=inputs["time_ids"])
    arguments = (sample, inputs["timesteps"], inputs["encoder_hidden_states"].to(dtype))
    start = time.time()
    output = model(*arguments, added_cond_kwargs=added).sample
    (output * inputs["cotangent"].to(dtype)).sum().backward()
    print(f"forward and backward {time.time() - start:.1f} s")
    results = {"output": output.detach().float().reshape(-1), "gradient.sample": sample.grad.float().reshape(-1)}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            results["gradient." + name.replace(".default", "")] = kept(parameter.grad)
    save_file(results, scratch / f"theirs-{precision}.safetensors")


def ours(family, scratch, precision, library):
    java = Path(os.environ["JAVA_HOME"]) / "bin/java"
    target = ROOT / "java/target"
    subprocess.run(
        [
            java, "-Xmx2g", "--enable-native-access=ALL-UNNAMED", f"-Dsmpo.library={library}",
            "-cp", f"{target}/classes:{target}/test-classes:{target}/lib/*", "org.smpo.generate.FullSize",
            scratch / "unet", scratch / "inputs.safetensors", scratch / f"ours-{precision}.safetensors", precision,
            "adapters" if family == "sdxl" else "parameters",
        ],
        check=True,
    )


def error(expected, found, names):
    """Returns the relative L2 error over all these tensors as one vector."""
    difference = sum((found[n].double() - expected[n].double()).square().sum() for n in names)
    return (difference / sum(expected[n].double().square().sum() for n in names)).sqrt().item()


def compare(scratch, precision):
    expected = load_file(scratch / "theirs-fp32.safetensors")
    sides = {"ours": load_file(scratch / f"ours-{precision}.safetensors")}
    if precision == "bf16" and (scratch / "theirs-bf16.safetensors").exists():
        sides["diffusers"] = load_file(scratch / "theirs-bf16.safetensors")
    gradients = [n for n in expected if n.startswith("gradient.") and n != "gradient.sample"]
    for side, found in sides.items():
        assert set(found) == set(expected), set(found) ^ set(expected)
        assert all(torch.isfinite(v).all() for v in found.values())
        each = {n: error(expected, found, [n]) for n in gradients}
        worst = max(each, key=each.get)
        print(
            f"  {side} {precision} against diffusers fp32: output {error(expected, found, ['output']):.2e},"
            f" sample's gradient {error(expected, found, ['gradient.sample']):.2e},"
            f" {len(gradients)} gradients {error(expected, found, gradients):.2e}, worst {each[worst]:.2e} ({worst[9:]})"
        )
    # The measure itself: scaling one tensor by 1.001 must be detected.
    mutated = dict(expected, output=expected["output"] * 1.001)
    assert 0.9e-3 < error(expected, mutated, ["output"]) < 1.1e-3


def main():
    family, scratch, library, *precisions = sys.argv[1:]
    scratch = Path(scratch)
    if library == "--phase":
        phase, *rest = precisions
        dict(make=make, reference=reference)[phase](family, scratch, *rest)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"  {phase} {' '.join(rest)}: {peak:.1f} GiB at the most", flush=True)
        return
    scratch.mkdir(parents=True, exist_ok=True)

    def phase(*what):
        subprocess.run([sys.executable, __file__, family, scratch, "--phase", *what], check=True)

    if not (scratch / "inputs.safetensors").exists():
        phase("make")
    if not (scratch / "theirs-fp32.safetensors").exists():
        phase("reference", "fp32")
    for precision in precisions or ["fp32", "bf16-peer", "bf16"]:
        if precision == "bf16-peer":
            phase("reference", "bf16")
            continue
        ours(family, scratch, precision, library)
        compare(scratch, precision)


if __name__ == "__main__":
    main()
