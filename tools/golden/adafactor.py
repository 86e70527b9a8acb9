#!/usr/bin/env python3
"""Ten steps of transformers.optimization.Adafactor in float64: native/test/golden/adafactor.txt.

A matrix, a filter whose sides differ, a 1x1 filter and a vector, each updated separately; values in the row-major order of the
checkpoint. Inputs are multiples of 2^-10, exact in float, made by formulas that the test repeats; every fifth gradient
is zero. Written with torch 2.11.0 and transformers 5.23.0 on the CPU. Run from anywhere; it also writes the file's
digest to MANIFEST beside it.
"""
import hashlib
import math
import pathlib

import torch
import transformers
from transformers.optimization import Adafactor

STEPS = 10
KEPT = (1, 10)
SHAPES = {"matrix": (5, 7), "filter": (3, 4, 3, 2), "pointwise": (4, 6, 1, 1), "vector": (11,)}
#           name         lr   beta1  eps            clip  decay_rate weight_decay scale relative warmup
SETTINGS = (("defaults", None, None, (1e-30, 1e-3), 1.0, -0.8, 0.0, True, True, False),
            ("warm_up", None, None, (1e-30, 1e-3), 1.0, -0.8, 0.0, True, True, True),
            ("constant", 1e-2, 0.9, (1e-30, 1e-3), 1.0, -0.8, 0.1, False, False, False),
            ("clipped", 2e-2, None, (1e-6, 3.0), 0.25, -0.5, 0.01, True, False, False))


def parameter(i):
    return ((i * 31 + 7) % 97 - 48) / 32


def gradient(i, step):
    return 0.0 if i % 5 == 4 else ((i * 7919 + step * 104729 + 13) % 2001 - 1000) / 1024


def tensor(shape, value):
    return torch.tensor([value(i) for i in range(math.prod(shape))], dtype=torch.float64).reshape(shape)


def lines():
    yield f"# transformers.optimization.Adafactor in float64, transformers {transformers.__version__}, " \
          f"torch {torch.__version__.split('+')[0]}; made by tools/golden/adafactor.py"
    yield "# setting: name lr beta1 eps parameter_eps clip_threshold decay_rate weight_decay scale relative warmup"
    for name, lr, beta1, eps, clip, decay_rate, decay, scale, relative, warmup in SETTINGS:
        yield f"setting {name} {lr or 0!r} {beta1 or 0!r} {eps[0]!r} {eps[1]!r} {clip!r} {decay_rate!r} {decay!r} " \
              f"{scale:d} {relative:d} {warmup:d}"
        for kind, shape in SHAPES.items():
            yield f"tensor {kind} " + " ".join(map(str, shape))
            p = torch.nn.Parameter(tensor(shape, parameter))
            optimizer = Adafactor([p], lr=lr, beta1=beta1, eps=eps, clip_threshold=clip, decay_rate=decay_rate,
                                  weight_decay=decay, scale_parameter=scale, relative_step=relative,
                                  warmup_init=warmup)
            for step in range(1, STEPS + 1):
                p.grad = tensor(shape, lambda i: gradient(i, step))
                optimizer.step()
                if step in KEPT:
                    state = optimizer.state[p]
                    for key, values in {"parameter": p.detach(), **state}.items():
                        if key in ("parameter", "exp_avg", "exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col"):
                            yield f"{key} {step} " + " ".join(f"{value:.11g}" for value in values.flatten().tolist())


def main():
    folder = pathlib.Path(__file__).resolve().parents[2] / "native/test/golden"
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines()) + "\n"
    (folder / "adafactor.txt").write_text(text)
    manifest = folder / "MANIFEST"
    others = [line for line in manifest.read_text().splitlines() if not line.endswith("  adafactor.txt")] \
        if manifest.exists() else []
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest.write_text("\n".join(sorted(others + [f"{digest}  adafactor.txt"], key=lambda line: line[66:])) + "\n")


if __name__ == "__main__":
    main()
