#!/usr/bin/env python3
"""How the inversion of a step scales over processes: the driver behind `tools/bench ranks`.

    ranks.py [--size tiny|half|full] [--ranks N] [--rounds N] [--latents N] [--timesteps T,T,...] [--java PROGRAM]
             [--jar FILE --library FILE] [--results FILE] [--check]

One process with one thread takes the step of N times the timesteps; then N processes with one thread each take that of the
timesteps at the same time. The inversion has no communication, so its scaling is the time of the one over that of the
slowest of the N. The processes start anew in every round, warm up, and are the trainer's step
(org.smpo.bench.StepBench). The result is the median over rounds. Run it on an idle machine with at least N cores; the
load average is part of the result.

Results: one line, and with --results a JSON line. Exit code 2: something is missing; the message names it.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from compare import ROOT, Contender, Missing, machine
from compare_step import MODELS


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tools/bench ranks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=MODELS, default="half")
    parser.add_argument("--ranks", type=int, default=2, help="number of processes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: %(default)s)")
    parser.add_argument("--latents", type=int, default=32, help="height and width of the latents (default: %(default)s)")
    parser.add_argument("--timesteps", default="350,650", help="timesteps of the pairs of a process (default: 350,650)")
    parser.add_argument("--java", default="java")
    parser.add_argument("--jar", type=Path, default=ROOT / "bench/target/benchmarks.jar")
    parser.add_argument("--library", type=Path, default=ROOT / "build/native/lib/libsmpo.so")
    parser.add_argument("--results", type=Path, help="file to append the result to")
    parser.add_argument("--check", action="store_true", help="check the options only")
    return parser.parse_args(arguments)


def start(options, timesteps):
    java = [options.java, "--enable-native-access=ALL-UNNAMED", "-XX:+UseSerialGC", f"-Dsmpo.library={options.library}"]
    step = ["step", MODELS[options.size], "--timesteps", ",".join(timesteps), "--size", str(options.latents)]
    step += ["--threads", "1", "--dtype", "f32", "--warm-up", "state"]
    return Contender([*java, "-cp", str(options.jar), "org.smpo.bench.Main", *step], dict(os.environ))


def inversion(options, timesteps, processes):
    """The longest time of the inversion among processes that take a step at the same time."""
    running = [start(options, timesteps) for _ in range(processes)]
    try:
        for process in running:
            process.ask()
        return max(process.answer()["phases"]["invert"] for process in running)
    finally:
        for process in running:
            process.close()


def main(arguments=None):
    options = parse(arguments)
    if options.check:
        return 0
    try:
        for file, how in [(options.jar, "mvn package"), (options.library, "ninja -C build/native smpo")]:
            if not file.exists():
                raise Missing(f"{file}: not built; {how}")
        timesteps = options.timesteps.split(",")
        one, many = [], []
        for _ in range(options.rounds):
            one.append(inversion(options, timesteps * options.ranks, 1))
            many.append(inversion(options, timesteps, options.ranks))
    except Missing as missing:
        print(f"tools/bench ranks: {missing}", file=sys.stderr)
        return 2
    scaling = statistics.median(alone / together for alone, together in zip(one, many))
    load = os.getloadavg()[0]
    print(f"inversion of {options.ranks * len(timesteps)} pairs: one process {statistics.median(one):.2f} s, {options.ranks} "
          f"processes {statistics.median(many):.2f} s: {scaling:.2f} times as fast, load {load:.1f}")
    if options.results:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": os.environ.get("SMPO_COMMIT", "unknown"),
            "bench": "ranks",
            "model": MODELS[options.size],
            "latents": options.latents,
            "timesteps": [int(timestep) for timestep in timesteps],
            "ranks": options.ranks,
            "rounds": options.rounds,
            "one_s": [round(value, 4) for value in one],
            "ranks_s": [round(value, 4) for value in many],
            "scaling": round(scaling, 3),
            "load": load,
        }
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | machine(), separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
