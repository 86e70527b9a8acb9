"""Golden file for java/src/test/resources/org/smpo/recipe: the learning rates of diffusers' schedules.

Made with Python 3.11, torch 2.11.0, diffusers 0.42.1. Run from anywhere: python learning_rates.py
The build and the tests do not run this script; they read its output, whose digest is in MANIFEST.

Each rate is the one that the optimizer has when it takes that step: step 0 is the first.
"""

import hashlib
import json
import pathlib

import diffusers
import torch
from diffusers.optimization import get_scheduler

OUT = pathlib.Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/recipe"
CASES = [  # schedule, value, warm-up steps, steps, cycles
    ("constant", 1e-5, 0, 5, 0.5),
    ("constant_with_warmup", 1.024e-5, 100, 200, 0.5),
    ("constant_with_warmup", 1.0, 0, 5, 0.5),
    ("constant_with_warmup", 1.0, 1, 5, 0.5),
    ("linear", 2.048e-5, 7, 31, 0.5),
    ("linear", 1.0, 0, 10, 0.5),
    ("linear", 1.0, 10, 10, 0.5),
    ("linear", 1.0, 12, 10, 0.5),
    ("cosine", 1e-4, 7, 31, 0.5),
    ("cosine", 1.0, 0, 10, 0.5),
    ("cosine", 1.0, 3, 40, 1.5),
    ("cosine", 1.0, 12, 10, 0.5),
]


def rates(schedule, value, warmup, steps, cycles):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=value)
    if schedule == "cosine":
        scheduler = diffusers.optimization.get_cosine_schedule_with_warmup(optimizer, warmup, steps, cycles)
    else:
        scheduler = get_scheduler(schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    out = []
    for _ in range(steps + 2):  # two steps beyond the end
        out.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return out


def main():
    assert diffusers.__version__ == "0.42.1", diffusers.__version__
    OUT.mkdir(parents=True, exist_ok=True)
    cases = [
        dict(schedule=s, value=v, warmup_steps=w, steps=n, cycles=c, rates=rates(s, v, w, n, c))
        for s, v, w, n, c in CASES
    ]
    text = json.dumps({"made_with": {"diffusers": diffusers.__version__, "torch": torch.__version__}, "cases": cases})
    (OUT / "learning_rates.json").write_text(text + "\n")
    digest = hashlib.sha256((OUT / "learning_rates.json").read_bytes()).hexdigest()
    (OUT / "MANIFEST").write_text(f"{digest}  learning_rates.json\n")


if __name__ == "__main__":
    main()
