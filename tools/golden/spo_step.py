"""Golden results of one step of SPO (arXiv 2406.04314) on a tiny UNet, by torch's autograd in fp64.

    python tools/golden/spo_step.py     writes java/src/test/resources/org/smpo/train/spo/
                                        {spo_step.json, spo_step.safetensors, SHA256SUMS}

Pinned: torch 2.12.1, diffusers 0.42.1. Nothing of smpo is used here. As in the authors' train_spo.py and
ddim_with_logprob.py (github.com/RockeyCoss/SPO at 27a8642), pair by pair: guided predictions by four forward passes, those
of policy and reference for winner and loser; log probabilities of DDIM steps with eta 1, means over the elements; their
ratios, clamped; -log sigmoid. The candidates were drawn by the reference.

UNets: those of capo.py, with PERTURBATION_BITS. Inputs: normal_like("spo." + NAME, shape): latents, prompt_embeds,
negative_prompt_embeds, noise_w, noise_l.

spo_step.json, per case: its settings, log_ratio [pairs][2] (winner, loser; before the clamp), logit, loss [pairs], and
gradients as in capo.py.
spo_step.safetensors: CASE.target [2 * pairs, 4, 6, 5], what the output would be for each candidate without noise, winners
first, and CASE.logit_scale [pairs].
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

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/train/spo"
PERTURBATION_BITS = 7
GUIDANCE, STEPS, TIMESTEPS = 5.0, 20, [951, 501, 101, 51]
CASES = [
    dict(prediction_type="epsilon", beta=10.0, clip=0.1),
    dict(prediction_type="epsilon", beta=500.0, clip=0.1),
    dict(prediction_type="v_prediction", beta=10.0, clip=0.1),
]
SHAPE = (len(TIMESTEPS), 4, HEIGHT, WIDTH)


def levels(t, stride):
    """Levels before and after the step from t; a timestep below 0 has the level of 0."""
    all_levels = capo.alphas_cumprod()
    return all_levels[t], all_levels[max(t - stride, 0)]


def mean_and_deviation(x, output, t, stride, prediction_type):
    """DDIM with eta 1, as ddim_with_logprob.py writes it."""
    now, after = levels(t, stride)
    if prediction_type == "epsilon":
        epsilon = output
        clean = (x - math.sqrt(1 - now) * epsilon) / math.sqrt(now)
    else:
        epsilon = math.sqrt(now) * output + math.sqrt(1 - now) * x
        clean = math.sqrt(now) * x - math.sqrt(1 - now) * output
    deviation = math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    return math.sqrt(after) * clean + math.sqrt(1 - after - deviation**2) * epsilon, deviation, clean


def guided(unet, x, t, words, negative):
    prompt, empty = unet(x, t, words).sample, unet(x, t, negative).sample
    return empty + GUIDANCE * (prompt - empty)


def value(name, shape, dtype):
    return torch.from_numpy(synthetic.normal_like("spo." + name, shape)).to(dtype)


def coefficients(t, stride, prediction_type):
    """A, B and s of x' = A x + B output + s z."""
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    a, s, _ = mean_and_deviation(one, zero, t, stride, prediction_type)
    return a.item(), mean_and_deviation(zero, one, t, stride, prediction_type)[0].item(), s


def policy_weight(name, shape):
    return synthetic.tensor(name, shape) + (capo.policy_weight(name, shape) - synthetic.tensor(name, shape)) * np.float32(
        2.0 ** (capo.PERTURBATION_BITS - PERTURBATION_BITS)
    )


def step(case, dtype):
    policy = capo.unet_of(policy_weight, dtype)
    reference = capo.unet_of(synthetic.tensor, dtype).requires_grad_(False)
    kind = case["prediction_type"]
    x_all = value("latents", SHAPE, dtype)
    words = value("prompt_embeds", (len(TIMESTEPS), 77, 12), dtype)
    empty = value("negative_prompt_embeds", (len(TIMESTEPS), 77, 12), dtype)
    noise = [value(name, SHAPE, dtype) for name in ("noise_w", "noise_l")]
    out = dict(log_ratio=[], logit=[], loss=[])
    targets, scales = [[], []], []
    for i, t in enumerate(TIMESTEPS):
        one = slice(i, i + 1)
        x, stride = x_all[one], 1000 // STEPS
        a, b, s = coefficients(t, stride, kind)
        scales.append(b * b / (2 * s * s))
        ratios = []
        for which in range(2):
            with torch.no_grad():
                mean, deviation, _ = mean_and_deviation(x, guided(reference, x, t, words[one], empty[one]), t, stride, kind)
                candidate = mean + deviation * noise[which][one]
                targets[which].append((candidate - a * x) / b)
            log_probability = {}
            for role, unet in dict(policy=policy, reference=reference).items():
                mean, deviation, _ = mean_and_deviation(x, guided(unet, x, t, words[one], empty[one]), t, stride, kind)
                log_probability[role] = (
                    -((candidate - mean) ** 2) / (2 * deviation**2) - math.log(deviation) - math.log(math.sqrt(2 * math.pi))
                ).mean()
            ratios.append(log_probability["policy"] - log_probability["reference"])
        clamped = [torch.clamp(torch.exp(r), 1 - case["clip"], 1 + case["clip"]) for r in ratios]
        logit = case["beta"] * (torch.log(clamped[0]) - torch.log(clamped[1]))
        loss = -torch.nn.functional.logsigmoid(logit)
        (loss / len(TIMESTEPS)).backward()
        out["log_ratio"].append([r.item() for r in ratios])
        out["logit"].append(logit.item())
        out["loss"].append(loss.item())
    out["gradients"] = summaries({n: p.grad for n, p in policy.named_parameters()}).tolist()
    return out, torch.cat(targets[0] + targets[1]), scales


def main():
    versions = (torch.__version__.split("+")[0], diffusers.__version__)
    assert versions == ("2.12.1", "0.42.1"), versions
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    cases, tensors = [], {}
    for number, case in enumerate(CASES):
        out, target, scales = step(case, torch.float64)
        limit = [math.log(1 - case["clip"]), math.log(1 + case["clip"])]
        inside = [limit[0] < r < limit[1] for pair in out["log_ratio"] for r in pair]
        print(case, out["log_ratio"], out["loss"])
        # One clamped ratio, and one that is not, or the clamp would not be seen.
        assert any(inside) and not all(inside)
        tensors[f"{number}.target"] = target.float()
        tensors[f"{number}.logit_scale"] = torch.tensor(scales, dtype=torch.float32)
        gradients = [[float(f"{x:.9g}") for x in row] for row in out.pop("gradients")]
        cases.append(dict(case, **out, gradients=gradients))
    document = dict(
        made_by="tools/golden/spo_step.py", perturbation_bits=PERTURBATION_BITS, guidance_scale=GUIDANCE, steps=STEPS,
        timesteps=TIMESTEPS, height=HEIGHT, width=WIDTH,
    )
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in document.items()]
    lines.append(' "cases": [\n' + ",\n".join(f"  {json.dumps(c)}" for c in cases) + "\n ]")
    (OUT / "spo_step.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    save_file(tensors, OUT / "spo_step.safetensors")
    (OUT / "spo_step.safetensors").chmod(0o644)
    synthetic.write_sums(OUT)


if __name__ == "__main__":
    main()
