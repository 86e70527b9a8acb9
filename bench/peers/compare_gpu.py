#!/usr/bin/env python3
"""Compares UNets and SmPO steps on a GPU with diffusers', alternating within one run: the driver behind `tools/bench gpu`.

    compare_gpu.py [--device cuda|cpu] [--rounds N] [--only NAME ...] [--tiny] [--bench PROGRAM] [--kernels PROGRAM]
                   [--python PROGRAM] [--results FILE] [--check]

B1, B2  forward of SD 1.5 at 2 and 16 images, of SDXL at 2 and 8; bf16
B3      forward and backward, SD 1.5 at 32 images, SDXL at 4
B4      an SmPO step of 8 pairs without the optimizer's update, per pair; ours alone
B5      the inversion of one pair; ours alone
B9      the memory-bound kernels compared with a copy (smpo_cuda_bench)
B10     the cost of deterministic mode: B3, B4 and B5 of SD 1.5 with and without it; ours alone

Peers are diffusers eager and under torch.compile, in bf16, channels_last. A round is one iteration of each contender, in
alternating order. Rates are relative to a bf16 matrix product measured in the same rounds. --tiny and --device cpu
test the script itself, with small models on any machine; their figures mean nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from compare import PEER, ROOT, Contender, Missing, peer_python  # noqa: E402

# TFLOP of one image: forward, and forward and backward.
TFLOP = {"sd15": (0.803273, 2.4698), "sdxl": (6.761236, 20.6228), "tiny": (0.0, 0.0)}
CASES = [
    ("B1", "sd15", 2, []), ("B1", "sd15", 16, []), ("B2", "sdxl", 2, []), ("B2", "sdxl", 8, []),
    ("B3", "sd15", 32, ["--backward"]), ("B3", "sdxl", 4, ["--backward"]),
    ("B4", "sd15", 8, ["--step"]), ("B4", "sdxl", 4, ["--step"]),
    ("B5", "sd15", 1, ["--invert"]), ("B5", "sdxl", 1, ["--invert"]),
    ("B10", "sd15", 16, ["--backward"]), ("B10", "sd15", 8, ["--step"]), ("B10", "sd15", 1, ["--invert"]),
]
TINY = [("B1", "tiny", 2, []), ("B3", "tiny", 2, ["--backward"]), ("B4", "tiny", 2, ["--step"]), ("B5", "tiny", 1, ["--invert"]),
        ("B10", "tiny", 2, ["--backward"])]


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tools/bench gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[], help="B1 B2 ...")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="omit torch.compile, which takes minutes")
    parser.add_argument("--bench", type=Path, default=ROOT / "build/native-cuda/bin/smpo_unet_bench")
    parser.add_argument("--kernels", type=Path, default=ROOT / "build/native-cuda/bin/smpo_cuda_bench")
    parser.add_argument("--python", default=os.environ.get("SMPO_PEER_PYTHON"))
    parser.add_argument("--results", type=Path)
    parser.add_argument("--check", action="store_true", help="only report what is missing")
    return parser.parse_args(arguments)


def matrix_rate(python, device):
    """Measures the TFLOP/s of a bf16 product."""
    side = 8192 if device == "cuda" else 512
    program = (
        f"import time, torch\na = torch.randn({side}, {side}, dtype=torch.bfloat16, device='{device}')\n"
        "wait = torch.cuda.synchronize if a.is_cuda else (lambda: None)\n"
        "for _ in range(5): a @ a\nbest = 1e9\n"
        "for _ in range(10):\n  wait(); start = time.perf_counter(); a @ a; wait(); best = min(best, time.perf_counter() - start)\n"
        f"print(2 * {side} ** 3 / best * 1e-12)"
    )
    return float(subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout)


def measure(options, python, name, model, batch, work):
    size = 16 if model == "tiny" else 128 if model == "sdxl" else 64
    common = [model, "--batch", str(batch), "--size", str(size), "--dtype", "bf16", "--device", options.device]
    commands = [[str(options.bench), *common, *work, "--serve"]]
    if name == "B10":
        commands.append([*commands[0][:-1], "--nondeterministic", "--serve"])
    elif not {"--step", "--invert"} & set(work):
        commands.append([python, str(PEER), *common, *work])
        if not options.no_compile:
            commands.append([*commands[-1], "--compile"])
    running = []
    try:
        for command in commands:
            running.append(Contender(command, dict(os.environ)))
        for turn in range(options.rounds):
            for contender in running if turn % 2 == 0 else reversed(running):
                contender.go()
    finally:
        for contender in running:
            contender.close()
    return running


def main(arguments=None):
    options = parse(arguments)
    try:
        python = peer_python(options.python)
        if options.device == "cuda":
            probe = subprocess.run([python, "-c", "import torch; print(torch.cuda.is_available())"], capture_output=True, text=True, check=True)
            if probe.stdout.strip() != "True":
                raise Missing("no CUDA device can be used here: torch.cuda.is_available() is false")
        if options.check:
            return 0
        if not options.bench.exists():
            raise Missing(f"{options.bench}: not built; ninja -C build/native-cuda smpo_unet_bench")
        rate = matrix_rate(python, options.device)
        print(f"bf16 matrix product: {rate:.1f} TFLOP/s")
        print(f"{'bench':5} {'model':6} {'work':10} {'images':>6} {'contender':18} {'median ms':>10} {'x ours':>7} {'TFLOP/s':>8} {'share':>6}")
        for name, model, batch, work in TINY if options.tiny else CASES:
            if options.only and name not in options.only:
                continue
            running = measure(options, python, name, model, batch, work)
            for contender in running:
                median = statistics.median(contender.seconds)
                per = median / batch if "--step" in work else median
                flop = 0 if {"--step", "--invert"} & set(work) else batch * TFLOP[model][1 if work else 0]
                ratios = [theirs / own for theirs, own in zip(contender.seconds, running[0].seconds)]
                line = {
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": os.environ.get("SMPO_COMMIT", "unknown"),
                    "bench": name, "contender": contender.name, "model": model, "work": work[0][2:] if work else "forward",
                    "batch": batch, "device": options.device, "median_ms": round(per * 1e3, 4),
                    "times_ours": round(statistics.median(ratios), 3), "tflop_per_s": round(flop / median, 2),
                    "share_of_matrix_rate": round(flop / median / rate, 4), "matrix_tflop_per_s": round(rate, 1), "rounds": options.rounds,
                }
                print(f"{name:5} {model:6} {line['work']:10} {batch:6} {contender.name:18} {line['median_ms']:10.3f} "
                      f"{line['times_ours']:7.2f} {line['tflop_per_s']:8.1f} {line['share_of_matrix_rate']:6.1%}", flush=True)
                if options.results:
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line, separators=(",", ":")) + "\n")
        if options.device == "cuda" and (not options.only or "B9" in options.only):
            subprocess.run([str(options.kernels)], check=True)
    except Missing as missing:
        print(f"tools/bench gpu: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
