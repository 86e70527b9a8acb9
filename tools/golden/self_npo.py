"""Golden results of one step of Self-NPO (arXiv 2505.11777) on a tiny UNet, by torch's autograd in fp64.

    python tools/golden/self_npo.py     writes java/src/test/resources/org/smpo/train/selfnpo/
                                        {self_npo.json, self_npo.safetensors, SHA256SUMS}

Pinned: torch 2.12.1, diffusers 0.42.1. Nothing of smpo is used here. As in the authors' train.py
(github.com/G-U-N/Diffusion-NPO at a14f1db, folder Self-NPO), image by image: the teacher's DDIM from the image's noised
latents, in clean latents and noise, for the empty prompt; one more prediction where it ends; more noise, up to a noisier
timestep; the student's prediction there, for the caption; the difference of the clean latents that both imply.

UNets: those of capo.py, the teacher with the weights of its reference. Inputs: normal_like("selfnpo." + NAME, shape):
latents, prompt_embeds, empty. Noise of image i, as native/src/kernels/philox_normal.h defines it, step 0: purpose 5 and item
2 i at the start, purpose 6 and item 4096 * 2 i + (number of DDIM steps) at the end.

self_npo.json, per case: its settings, loss [images], and gradients of the mean loss as in capo.py.
self_npo.safetensors: CASE.x.I [steps + 1, 4, 6, 5], the latents of image I from the start of its rollout to the end;
CASE.noised and CASE.target [images, 4, 6, 5], what the student gets and what it should predict.
fp32_differs_by: the same in torch's fp32: the largest difference of latents, and of losses and gradients relatively.
"""

import json
import math
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import capo
import synthetic
from step_golden import HEIGHT, WIDTH, summaries

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/train/selfnpo"
GRID, STEPS = 25, 5
STARTS, TIMESTEPS = [39, 159, 439], [5, 480, 339]  # points 0, 3 and 10 of the grid
CASES = [
    dict(prediction_type="epsilon", error="huber", huber_c=1e-3),
    dict(prediction_type="epsilon", error="l2"),
    dict(prediction_type="v_prediction", error="huber", huber_c=1e-3),
]
SHAPE = (len(STARTS), 4, HEIGHT, WIDTH)
END_NOISE, MOST_STEPS = 6, 4096


def clean_and_noise(x, output, alpha, sigma, kind):
    if kind == "epsilon":
        return (x - sigma * output) / alpha, output
    return alpha * x - sigma * output, alpha * output + sigma * x


def value(name, shape, dtype):
    return torch.from_numpy(synthetic.normal_like("selfnpo." + name, shape)).to(dtype)


def normals(purpose, item, dtype):
    numbers = synthetic.normals(math.prod(SHAPE[1:]), purpose, 0, item)
    return torch.from_numpy(numbers.reshape(1, *SHAPE[1:])).to(dtype)


def step(case, dtype):
    student = capo.unet_of(capo.policy_weight, dtype)
    teacher = capo.unet_of(synthetic.tensor, dtype).requires_grad_(False)
    kind, stride = case["prediction_type"], 1000 // GRID
    level = capo.alphas_cumprod()
    alphas, sigmas = np.sqrt(level), np.sqrt(1 - level)
    latents = value("latents", SHAPE, dtype)
    words, empty = value("prompt_embeds", (len(STARTS), 77, 12), dtype), value("empty", (1, 77, 12), dtype)
    out, tensors, noised, targets = dict(loss=[]), {}, [], []
    for i, t in enumerate(STARTS):
        x = alphas[t] * latents[i : i + 1] + sigmas[t] * normals(capo.FORWARD_NOISE, 2 * i, dtype)
        path = [x]
        with torch.no_grad():
            for _ in range(STEPS):
                if t == 0:
                    break
                clean, epsilon = clean_and_noise(x, teacher(x, t, empty).sample, alphas[t], sigmas[t], kind)
                t = max(t - stride, 0)
                x = alphas[t] * clean + sigmas[t] * epsilon
                path.append(x)
            clean, epsilon = clean_and_noise(x, teacher(x, t, empty).sample, alphas[t], sigmas[t], kind)
        s = TIMESTEPS[i]
        nsr = [sigmas[at] / alphas[at] for at in (t, s)]
        more = normals(END_NOISE, MOST_STEPS * 2 * i + len(path) - 1, dtype)
        x = alphas[s] * (x / alphas[t] + math.sqrt(nsr[1] ** 2 - nsr[0] ** 2) * more)
        difference = clean_and_noise(x, student(x, s, words[i : i + 1]).sample, alphas[s], sigmas[s], kind)[0] - clean
        if case["error"] == "huber":
            loss = ((difference.square() + case["huber_c"] ** 2).sqrt() - case["huber_c"]).mean()
        else:
            loss = difference.square().mean()
        (loss / len(STARTS)).backward()
        out["loss"].append(loss.item())
        tensors[f"x.{i}"] = torch.cat(path)
        noise = (x - alphas[s] * clean) / sigmas[s]
        noised.append(x)
        targets.append(noise if kind == "epsilon" else alphas[s] * noise - sigmas[s] * clean)
    out["gradients"] = summaries({n: p.grad for n, p in student.named_parameters()}).tolist()
    tensors |= dict(noised=torch.cat(noised), target=torch.cat(targets))
    return out, tensors


def main():
    versions = (torch.__version__.split("+")[0], diffusers.__version__)
    assert versions == ("2.12.1", "0.42.1"), versions
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    cases, stored = [], {}
    for number, case in enumerate(CASES):
        (exact, tensors), (single, in_fp32) = step(case, torch.float64), step(case, torch.float32)
        ours, wanted = (np.array(found["gradients"]) for found in (single, exact))
        for table in (ours, wanted):
            table[:, 1:] *= table[:, :1]
        norms = np.maximum(wanted[:, 0], 1e-6 * np.sqrt((wanted[:, 0] ** 2).sum()))
        off = dict(
            latents=max((in_fp32[name].double() - tensors[name]).abs().max().item() for name in tensors),
            loss=float(np.max(np.abs(np.array(single["loss"]) / np.array(exact["loss"]) - 1))),
            gradients=(np.abs(ours - wanted) / norms[:, None]).max(),
        )
        print(case, exact["loss"], off)
        stored |= {f"{number}.{name}": tensor.float().contiguous() for name, tensor in tensors.items()}
        gradients = [[float(f"{x:.9g}") for x in row] for row in exact.pop("gradients")]
        cases.append(dict(case, **exact, fp32_differs_by={k: float(f"{v:.2g}") for k, v in off.items()}, gradients=gradients))
    document = dict(
        made_by="tools/golden/self_npo.py", perturbation_bits=capo.PERTURBATION_BITS, grid=GRID, rollout_steps=STEPS,
        starts=STARTS, timesteps=TIMESTEPS, height=HEIGHT, width=WIDTH,
    )
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in document.items()]
    lines.append(' "cases": [\n' + ",\n".join(f"  {json.dumps(c)}" for c in cases) + "\n ]")
    (OUT / "self_npo.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    save_file(stored, OUT / "self_npo.safetensors")
    synthetic.write_sums(OUT)


if __name__ == "__main__":
    main()
