#!/usr/bin/env python3
"""Compares our UNet with diffusers', alternating within one run: the driver behind `tools/bench unet`.

    compare.py [--size tiny|sd15-half|sd15|sdxl-half] [--precision fp32|bf16|autocast] [--batch N] [--latents N]
               [--pass forward|backward|both] [--compile] [--rounds N] [--threads N] [--jemalloc FILE|none]
               [--bench PROGRAM] [--python PROGRAM] [--results FILE] [--check]

Every contender is a process that keeps its model and runs one iteration per request (protocol: unet.py). A round is one
iteration of each, in alternating order, so that a machine that gets slower or busier slows all of them. The result is the
median over rounds of the ratio peer / ours within a round. Peers run with jemalloc if it is found. Without it,
PyTorch's training is up to twice as slow.

On a shared machine wall time means little, especially with threads that wait for each other. Compare processor time with
--threads 1 there (column "x cpu").

In fp32 each round also times a matrix product with packed weights (peak.py). Column "of peak" is a contender's rate as a
share of that product's, by the floating-point operations that PyTorch counts for one iteration.

--precision fp32 compares fp32 with fp32; bf16: our bf16 (fp32 gradients) with a bf16 model; autocast: our bf16 with fp32
weights under autocast, the usual way to train. --size tiny runs on 16x16 latents, the others on 64x64.

Results: a table on stdout and, with --results, one JSON line per contender. Exit code 2: something is missing; the message names it.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEER = Path(__file__).resolve().parent / "unet.py"
JEMALLOC_PLACES = [
    "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
    "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2",
    "/usr/lib64/libjemalloc.so.2",
    "/usr/local/lib/libjemalloc.so.2",
]
# With -1 (never return memory), memory would grow without bound for varying shapes; 2 s keep the pages of an iteration.
JEMALLOC_SETTINGS = "dirty_decay_ms:2000,muzzy_decay_ms:2000"


class Missing(Exception):
    """Something is missing; the message says how to get it."""


class Contender:
    """A process that implements the protocol."""

    def __init__(self, command, environment):
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        except OSError as problem:
            raise Missing(f"{command[0]}: {problem.strerror}") from problem
        self.command = command
        self.ready = self._line()
        self.name = self.ready["contender"]
        self.seconds, self.cpu_seconds, self.peak_bytes = [], [], 0

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise Missing(f"{' '.join(map(str, self.command))}: ended with exit code {self.process.wait()}")
        return json.loads(line)

    def go(self):
        self.ask()
        return self.answer()

    def ask(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answer(self):
        answer = self._line()
        self.seconds.append(answer["seconds"])
        self.cpu_seconds.append(answer["cpu_seconds"])
        self.peak_bytes = max(self.peak_bytes, answer["peak_resident_bytes"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def machine():
    """Returns the kind of machine; only figures of the same kind are comparable."""
    cpu, flags = platform.processor(), set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                cpu = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
    isa = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return {"cpu": cpu, "isa": "+".join(isa), "cpus": len(os.sched_getaffinity(0))}


def find_jemalloc(wanted):
    if wanted == "none":
        return None
    if wanted:
        if not Path(wanted).exists():
            raise Missing(f"--jemalloc {wanted}: no such file")
        return wanted
    return next((place for place in JEMALLOC_PLACES if Path(place).exists()), None)


def peer_python(wanted):
    """Returns a Python with torch and diffusers: the named one, this one, or python3."""
    tried = [wanted] if wanted else [sys.executable, "python3"]
    for python in tried:
        probe = [python, "-c", "import torch, diffusers"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return python
    raise Missing(
        f"{' and '.join(tried)}: no torch and diffusers. The comparison needs them, nothing else does: "
        "pip install torch==2.11.0 diffusers==0.42.1 in any Python, and name it with --python or SMPO_PEER_PYTHON"
    )


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tools/bench unet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=["tiny", "sd15-half", "sd15", "sdxl-half"], default="tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16", "autocast"], default="fp32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--latents", type=int, help="height and width of the latents (default: 16 for tiny, else 64)")
    parser.add_argument("--pass", dest="passes", choices=["forward", "backward", "both"], default="both")
    parser.add_argument("--compile", action="store_true", help="add torch.compile as a second peer")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=0, help="number of threads of each contender (default: its own choice)")
    parser.add_argument("--jemalloc", help="libjemalloc for the peers (default: the usual places)")
    parser.add_argument("--bench", type=Path, default=ROOT / "build/native/bin/smpo_unet_bench")
    parser.add_argument("--python", default=os.environ.get("SMPO_PEER_PYTHON"))
    parser.add_argument("--results", type=Path)
    parser.add_argument("--check", action="store_true", help="only report what is missing")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.batch < 1:
        parser.error("--rounds and --batch: expected 1 or more")
    return options


def contenders(options, backward, jemalloc, python):
    """Returns commands and environments, ours first."""
    shape = ["--batch", str(options.batch), "--size", str(options.latents or (16 if options.size == "tiny" else 64))]
    common = [options.size, *shape, *(["--backward"] if backward else [])]
    if options.threads:
        common += ["--threads", str(options.threads)]
    environment = dict(os.environ)
    with_jemalloc = dict(environment)
    if jemalloc:
        with_jemalloc |= {"LD_PRELOAD": jemalloc, "MALLOC_CONF": JEMALLOC_SETTINGS}
    ours = "f32" if options.precision == "fp32" else "bf16"
    theirs = {"fp32": "f32", "bf16": "bf16", "autocast": "autocast"}[options.precision]
    peer = [python, str(PEER), *common, "--dtype", theirs]
    yield [str(options.bench), *common, "--dtype", ours, "--serve"], environment
    yield peer, with_jemalloc
    if options.compile:
        yield [*peer, "--compile"], with_jemalloc
    if options.precision == "fp32":
        threads = ["--threads", str(options.threads)] if options.threads else []
        yield [python, str(PEER.with_name("peak.py")), *threads], with_jemalloc


def measure(options, backward, jemalloc, python):
    """Runs one pass and returns the contenders with their seconds of every round."""
    with contextlib.ExitStack() as stack:
        running = []
        for command, environment in contenders(options, backward, jemalloc, python):
            running.append(Contender(command, environment))
            stack.callback(running[-1].close)
        for turn in range(options.rounds):
            for contender in running if turn % 2 == 0 else reversed(running):
                contender.go()
        return running


def ratio(theirs, own):
    return theirs / own


def share_of_peak(contender, flops, peak):
    """Returns the median over rounds of a contender's rate divided by that of the product, by wall time."""
    shares = (flops / own * reference / peak.ready["flops"] for own, reference in zip(contender.seconds, peak.seconds))
    return round(statistics.median(shares), 3)


def results(options, backward, jemalloc, running):
    ours = running[0]
    peak = next((c for c in running if c.name == "peak"), None)
    running = [c for c in running if c is not peak]
    flops = running[1].ready["flops"]
    if len({c.ready["parameters"] for c in running}) != 1:
        raise SystemExit(f"not the same model: {[c.ready['parameters'] for c in running]} parameters")
    for contender in running:
        ratios = sorted(map(ratio, contender.seconds, ours.seconds))
        yield {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": os.environ.get("SMPO_COMMIT", "unknown"),
            "bench": "unet",
            "contender": contender.name,
            "model": options.size,
            "pass": "forward+backward" if backward else "forward",
            "precision": options.precision,
            "batch": options.batch,
            "latents": options.latents or (16 if options.size == "tiny" else 64),
            "threads": options.threads or running[1].ready["threads"],
            "rounds": options.rounds,
            "median_s": round(statistics.median(contender.seconds), 6),
            "least_s": round(min(contender.seconds), 6),
            "median_cpu_s": round(statistics.median(contender.cpu_seconds), 6),
            "times_ours": round(statistics.median(ratios), 3),
            "times_ours_quartiles": [round(ratios[len(ratios) // 4], 3), round(ratios[3 * len(ratios) // 4], 3)],
            "times_ours_cpu": round(statistics.median(map(ratio, contender.cpu_seconds, ours.cpu_seconds)), 3),
            "gflops": round(flops / statistics.median(contender.seconds) / 1e9, 1),
            **({} if peak is None else {"of_peak": share_of_peak(contender, flops, peak)}),
            "peak_resident_bytes": contender.peak_bytes,
            **({} if contender is ours else {"jemalloc": bool(jemalloc), "torch": contender.ready.get("torch")}),
            **machine(),
        }


def main(arguments=None):
    options = parse(arguments)
    try:
        jemalloc = find_jemalloc(options.jemalloc)
        if jemalloc is None and options.jemalloc != "none" and not options.check:
            print(
                "no libjemalloc found: the peers run on glibc's allocator, which slows their training. "
                "Debian, Ubuntu: apt install libjemalloc2; or name one with --jemalloc",
                file=sys.stderr,
            )
        python = peer_python(options.python)
        if options.check:
            return 0
        if not options.bench.exists():
            raise Missing(f"{options.bench}: not built; ninja -C build/native smpo_unet_bench")
        print(f"{'contender':18} {'pass':17} {'median s':>9} {'x ours':>7} {'quartiles':>13} {'cpu s':>9} {'x cpu':>6} {'of peak':>7} {'peak MB':>8}")
        for backward in {"forward": [False], "backward": [True], "both": [False, True]}[options.passes]:
            for line in results(options, backward, jemalloc, measure(options, backward, jemalloc, python)):
                low, high = line["times_ours_quartiles"]
                print(
                    f"{line['contender']:18} {line['pass']:17} {line['median_s']:9.4f} {line['times_ours']:7.2f} "
                    f"{low:6.2f}-{high:<6.2f} {line['median_cpu_s']:9.4f} {line['times_ours_cpu']:6.2f} "
                    f"{line.get('of_peak', float('nan')):7.2f} {line['peak_resident_bytes'] / 1e6:8.0f}",
                    flush=True,
                )
                if options.results:
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line, separators=(",", ":")) + "\n")
    except Missing as missing:
        print(f"tools/bench unet: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
