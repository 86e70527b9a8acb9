#!/usr/bin/env python3
"""Twenty steps of torch.optim.AdamW in float64: native/test/golden/adamw.txt.

Inputs are multiples of 2^-10, exact in float, made by formulas that the test repeats; every fifth gradient is zero.
Written with torch 2.11.0 on the CPU. Run from anywhere; it also writes the file's digest to MANIFEST beside it.
"""
import hashlib
import pathlib

import torch

ELEMENTS = 11
STEPS = 20
KEPT = (1, 2, 20)
#           name         lr    beta1 beta2   eps    decay grad_scale
SETTINGS = (("defaults", 1e-3, 0.9, 0.999, 1e-8, 0.01, 1.0),
            ("no_decay", 1e-5, 0.9, 0.999, 1e-8, 0.0, 1.0),
            ("strong_decay", 0.02, 0.9, 0.99, 1e-6, 0.5, 1.0),
            ("slow_m", 3e-4, 0.95, 0.9999, 1e-8, 0.1, 0.125),
            ("no_momentum", 1e-2, 0.0, 0.5, 1e-3, 0.0, 0.75))


def parameter(i):
    return ((i * 31 + 7) % 97 - 48) / 32


def gradient(i, step):
    return 0.0 if i % 5 == 4 else ((i * 7919 + step * 104729 + 13) % 2001 - 1000) / 1024


def lines():
    yield f"# torch.optim.AdamW in float64, torch {torch.__version__.split('+')[0]}; made by tools/golden/adamw.py"
    yield "# setting: name lr beta1 beta2 eps weight_decay grad_scale elements"
    for name, lr, beta1, beta2, eps, decay, scale in SETTINGS:
        yield f"setting {name} {lr!r} {beta1!r} {beta2!r} {eps!r} {decay!r} {scale!r} {ELEMENTS}"
        p = torch.nn.Parameter(torch.tensor([parameter(i) for i in range(ELEMENTS)], dtype=torch.float64))
        optimizer = torch.optim.AdamW([p], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay, foreach=False)
        for step in range(1, STEPS + 1):
            p.grad = torch.tensor([gradient(i, step) * scale for i in range(ELEMENTS)], dtype=torch.float64)
            optimizer.step()
            if step in KEPT:
                state = optimizer.state[p]
                for kind, values in (("parameter", p.detach()), ("m", state["exp_avg"]), ("v", state["exp_avg_sq"])):
                    yield f"{kind} {step} " + " ".join(repr(value) for value in values.tolist())


def main():
    folder = pathlib.Path(__file__).resolve().parents[2] / "native/test/golden"
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines()) + "\n"
    (folder / "adamw.txt").write_text(text)
    manifest = folder / "MANIFEST"
    others = [line for line in manifest.read_text().splitlines() if not line.endswith("  adamw.txt")] \
        if manifest.exists() else []
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest.write_text("\n".join(sorted(others + [f"{digest}  adamw.txt"], key=lambda line: line[66:])) + "\n")


if __name__ == "__main__":
    main()
