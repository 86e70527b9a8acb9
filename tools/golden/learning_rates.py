"""Golden file for java/src/test/resources/org/smpo/recipe: the learning rates of diffusers' schedules.

Made with Python 3.11, torch 2.11.0 (more_learning_rates.json: 2.12.1), diffusers 0.42.1. Run from anywhere: python learning_rates.py
The build and the tests do not run this script; they read its output, whose digests are in MANIFEST.

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
MORE_CASES = [  # schedule, value, warm-up steps, steps, cycles, power, end
    ("cosine_with_restarts", 1e-4, 7, 31, 3, 1.0, 1e-7),
    ("cosine_with_restarts", 1.0, 0, 10, 1, 1.0, 1e-7),
    ("cosine_with_restarts", 1.0, 3, 40, 2, 1.0, 1e-7),
    ("cosine_with_restarts", 1.0, 12, 10, 2, 1.0, 1e-7),
    ("polynomial", 1e-4, 7, 31, 0.5, 1.0, 1e-7),
    ("polynomial", 1e-5, 0, 10, 0.5, 2.0, 0.0),
    ("polynomial", 1.0, 3, 40, 0.5, 0.5, 0.25),
    ("polynomial", 1.0, 12, 10, 0.5, 1.0, 1e-7),
]


def rates(schedule, value, warmup, steps, cycles, power=1.0, end=1e-7):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=value)
    if schedule == "cosine_with_restarts":
        scheduler = get_scheduler(
            schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps, num_cycles=cycles)
    elif schedule == "polynomial":
        scheduler = diffusers.optimization.get_polynomial_decay_schedule_with_warmup(
            optimizer, warmup, steps, lr_end=end, power=power)
    elif schedule == "cosine":
        scheduler = diffusers.optimization.get_cosine_schedule_with_warmup(optimizer, warmup, steps, cycles)
    else:
        scheduler = get_scheduler(schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    out = []
    for _ in range(steps + 2):  # two steps beyond the end
        out.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return out


def more():
    """The schedules that came after learning_rates.json."""
    cases = [
        dict(schedule=s, value=v, warmup_steps=w, steps=n, cycles=c, power=p, end=e, rates=rates(s, v, w, n, c, p, e))
        for s, v, w, n, c, p, e in MORE_CASES
    ]
    text = json.dumps({"made_with": {"diffusers": diffusers.__version__, "torch": torch.__version__}, "cases": cases})
    (OUT / "more_learning_rates.json").write_text(text + "\n")


def main():
    assert diffusers.__version__ == "0.42.1", diffusers.__version__
    OUT.mkdir(parents=True, exist_ok=True)
    cases = [
        dict(schedule=s, value=v, warmup_steps=w, steps=n, cycles=c, rates=rates(s, v, w, n, c))
        for s, v, w, n, c in CASES
    ]
    text = json.dumps({"made_with": {"diffusers": diffusers.__version__, "torch": torch.__version__}, "cases": cases})
    (OUT / "learning_rates.json").write_text(text + "\n")
    more()
    files = sorted(OUT.glob("*.json"))
    (OUT / "MANIFEST").write_text(
        "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files))


if __name__ == "__main__":
    main()
