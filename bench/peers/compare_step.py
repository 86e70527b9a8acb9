#!/usr/bin/env python3
"""Compares our SmPO step with the published algorithm in PyTorch eager: the driver behind `tools/bench step`.

    compare_step.py [--size tiny|half|full] [--precision fp32|bf16] [--rounds N] [--latents N] [--timesteps T,T,...]
                    [--inversion v020|v022] [--renoise every_step|last_step|none] [--threads N] [--micro-batch N]
                    [--slots N] [--gradient-checkpointing] [--apart] [--jemalloc FILE|none] [--python PROGRAM]
                    [--java PROGRAM --jar FILE --library FILE] [--results FILE] [--check]

One full-weight step over a global batch of pairs (2, timesteps 350 and 650): inversion, gradients, AdamW. Ours is the
trainer's step (org.smpo.bench.StepBench), theirs is smpo_step.py, whose help lists where it is faster than the published
code.
fp32 is compared with fp32, and our bf16 with fp32 weights under bf16 autocast, the published setting.

Each is a process that keeps its model and takes a step on request; a round is one step of each, in alternating order. The
result is the median over rounds of theirs / ours within a round. With --apart (the default for full, 17 GB each), for
contenders that do not fit into memory together, each process is started for its turn, takes one step without warm-up once
its optimizer state exists, and ends. On a shared machine, compare processor time with --threads 1 (column "x cpu").

Results: a table, the phases of ours and theirs, the share of our inversion outside the UNet, peak resident memory, and
with --results a JSON line for each. Exit code 2: something is missing; the message names it.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

from compare import JEMALLOC_SETTINGS, ROOT, Contender, Missing, find_jemalloc, machine, peer_python

PEER = Path(__file__).resolve().parent / "smpo_step.py"
MODELS = {"tiny": "tiny", "half": "sd15-half", "full": "sd15"}
PARAMETERS = {"tiny": 0.7e6, "half": 217e6, "full": 860e6}
# Weights, bf16 copies if any, gradients, AdamW's moments, reference: the same total in either precision.
BYTES_PER_PARAMETER = 20
# The phases of each contender that belong to a common phase.
PHASES = {"invert": ["invert"], "gradients": ["gradients", "forward", "reference", "backward"], "update": ["update"]}


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tools/bench step", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=MODELS, default="tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=int, help="number of rounds (default: 11 for tiny, 3 for half, 1 for full)")
    parser.add_argument("--latents", type=int, help="height and width of the latents (default: 16 for tiny, else 64)")
    parser.add_argument("--timesteps", default="350,650", help="timesteps of the pairs (default: 350,650)")
    parser.add_argument("--inversion", choices=["v020", "v022"], default="v020")
    parser.add_argument("--renoise", choices=["every_step", "last_step", "none"], default="every_step")
    parser.add_argument("--threads", type=int, default=0, help="number of threads of each contender (default: its own choice)")
    parser.add_argument("--micro-batch", type=int, default=1, help="ours: number of pairs per micro-batch")
    parser.add_argument("--slots", type=int, default=0, help="ours: inversion batch size (default: all images)")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="use gradient checkpointing in both contenders")
    parser.add_argument("--apart", action="store_true", help="keep one contender at a time in memory")
    parser.add_argument("--jemalloc", help="libjemalloc for the peer (default: the usual places)")
    parser.add_argument("--python", default=os.environ.get("SMPO_PEER_PYTHON"))
    parser.add_argument("--java", default="java")
    parser.add_argument("--jar", type=Path, default=ROOT / "bench/target/benchmarks.jar")
    parser.add_argument("--library", type=Path, default=ROOT / "build/native/lib/libsmpo.so")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--check", action="store_true", help="only report what is missing")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or {"tiny": 11, "half": 3, "full": 1}[options.size]
    options.latents = options.latents or (16 if options.size == "tiny" else 64)
    options.apart = options.apart or options.size == "full"
    if options.rounds < 1:
        parser.error("--rounds: expected 1 or more")
    return options


def commands(options, jemalloc, python):
    """Returns commands and environments, ours first."""
    common = [MODELS[options.size], "--timesteps", options.timesteps, "--inversion", options.inversion]
    common += ["--renoise", options.renoise, "--size", str(options.latents), "--threads", str(options.threads)]
    if options.gradient_checkpointing:
        common.append("--gradient-checkpointing")
    if options.apart:
        common += ["--warm-up", "state"]
    environment = dict(os.environ)
    java = [options.java, "--enable-native-access=ALL-UNNAMED", "-XX:+UseSerialGC", f"-Dsmpo.library={options.library}"]
    java += ["-cp", str(options.jar), "org.smpo.bench.Main", "step"]
    dtype = "f32" if options.precision == "fp32" else "bf16"
    yield [*java, *common, "--dtype", dtype, "--micro-batch", str(options.micro_batch), "--slots", str(options.slots)], environment
    if jemalloc:
        environment = environment | {"LD_PRELOAD": jemalloc, "MALLOC_CONF": JEMALLOC_SETTINGS}
    dtype = "f32" if options.precision == "fp32" else "autocast"
    yield [python, str(PEER), *common, "--dtype", dtype, "--jemalloc", "none"], environment


def require_memory(options):
    with contextlib.suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        needed, available = PARAMETERS[options.size] * BYTES_PER_PARAMETER, int(found[1]) * 1024
        if available < needed:
            raise Missing(f"--size {options.size}: needs {needed / 1e9:.1f} GB and more, {available / 1e9:.1f} GB are available")


class Turns:
    """A contender that runs throughout or only for its turn, and its answers."""

    def __init__(self, options, command, environment):
        self.options, self.command, self.environment = options, command, environment
        self.answers, self.running = [], None
        if not options.apart:
            self.start()

    def start(self):
        if self.options.apart:
            require_memory(self.options)
        self.running = Contender(self.command, self.environment)
        self.ready = self.running.ready

    def go(self):
        if self.running is None:
            self.start()
        self.answers.append(self.running.go())
        if self.options.apart:
            self.close()

    def close(self):
        if self.running is not None:
            self.running.close()
            self.running = None

    def median(self, name):
        return statistics.median(answer[name] for answer in self.answers)

    def phase(self, name):
        return statistics.median(
            sum(answer["phases"].get(part, 0) for part in PHASES[name]) for answer in self.answers
        )


def measure(options, jemalloc, python):
    with contextlib.ExitStack() as stack:
        contenders = []
        for command, environment in commands(options, jemalloc, python):
            contenders.append(Turns(options, command, environment))
            stack.callback(contenders[-1].close)
        for turn in range(options.rounds):
            for contender in contenders if turn % 2 == 0 else reversed(contenders):
                contender.go()
        return contenders


def require_same_work(contenders):
    for name, said in [("parameters", lambda c: c.ready["parameters"]),
                       ("UNet evaluations a step", lambda c: c.answers[0]["unet_evaluations"])]:
        if len({said(contender) for contender in contenders}) != 1:
            raise SystemExit(f"not the same work: {[said(contender) for contender in contenders]} {name}")


def results(options, jemalloc, contenders):
    ours = contenders[0]
    for contender in contenders:
        ratios = {}
        for name in ("seconds", "cpu_seconds"):
            each = [theirs[name] / own[name] for theirs, own in zip(contender.answers, ours.answers)]
            ratios[name] = statistics.median(each)
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": os.environ.get("SMPO_COMMIT", "unknown"),
            "bench": "step",
            "contender": contender.ready["contender"],
            "model": MODELS[options.size],
            "precision": options.precision,
            "latents": options.latents,
            "timesteps": [int(t) for t in options.timesteps.split(",")],
            "inversion": options.inversion,
            "renoise": options.renoise,
            "threads": options.threads or contenders[1].ready["threads"],
            "gradient_checkpointing": options.gradient_checkpointing,
            "apart": options.apart,
            "rounds": options.rounds,
            "median_s": round(contender.median("seconds"), 4),
            "median_cpu_s": round(contender.median("cpu_seconds"), 4),
            "times_ours": round(ratios["seconds"], 3),
            "times_ours_cpu": round(ratios["cpu_seconds"], 3),
            "phases_s": {name: round(contender.phase(name), 4) for name in PHASES},
            "unet_evaluations": contender.answers[0]["unet_evaluations"],
            "peak_resident_bytes": max(answer["peak_resident_bytes"] for answer in contender.answers),
        }
        if contender is ours:
            line["micro_batch"], line["slots"] = ours.ready["micro_batch"], ours.ready["slots"]
            line["inversion_outside_unet"] = round(statistics.median(
                1 - answer["inversion_unet_seconds"] / answer["phases"]["invert"] for answer in ours.answers
            ), 5)
        else:
            line |= {"jemalloc": bool(jemalloc), "torch": contender.ready.get("torch")}
        yield line | machine()


def show(lines):
    print(f"{'contender':16} {'step s':>9} {'x ours':>7} {'cpu s':>9} {'x cpu':>6} {'invert s':>9} {'gradients s':>11} "
          f"{'update s':>8} {'peak MB':>8}")
    for line in lines:
        phases = line["phases_s"]
        print(f"{line['contender']:16} {line['median_s']:9.3f} {line['times_ours']:7.2f} {line['median_cpu_s']:9.3f} "
              f"{line['times_ours_cpu']:6.2f} {phases['invert']:9.3f} {phases['gradients']:11.3f} "
              f"{phases['update']:8.3f} {line['peak_resident_bytes'] / 1e6:8.0f}")
    print(f"our inversion outside the UNet: {100 * lines[0]['inversion_outside_unet']:.2f} % of its phase")


def main(arguments=None):
    options = parse(arguments)
    try:
        jemalloc = find_jemalloc(options.jemalloc)
        if jemalloc is None and options.jemalloc != "none" and not options.check:
            print("no libjemalloc found: the peer runs on glibc's allocator, which slows its training. "
                  "Debian, Ubuntu: apt install libjemalloc2; or name one with --jemalloc", file=sys.stderr)
        python = peer_python(options.python)
        if options.check:
            return 0
        for file, how in [(options.jar, "mvn package"), (options.library, "ninja -C build/native smpo")]:
            if not file.exists():
                raise Missing(f"{file}: not built; {how}")
        contenders = measure(options, jemalloc, python)
        require_same_work(contenders)
        lines = list(results(options, jemalloc, contenders))
        show(lines)
        if options.results:
            with options.results.open("a", encoding="utf-8") as file:
                for line in lines:
                    file.write(json.dumps(line, separators=(",", ":")) + "\n")
    except Missing as missing:
        print(f"tools/bench step: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
