#!/usr/bin/env python3
"""How long OpenMP's threads should spin before they sleep: the driver behind `tools/bench spin`.

    spin.py [--rounds N] [--bench PROGRAM]

Times the forward pass of the tiny UNet with several values of GOMP_SPINCOUNT, on the machine as it is and beside one busy
program per core. The values take turns within a round; the table has the medians over rounds of the median of 30 passes.
The first part means something only on an otherwise idle machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = {"1,000 turns": "1000", "3,000 turns": "3000", "10,000 turns": "10000", "one thread": None}
BUSY = "while True: pass"


def forward(bench, turns):
    """Milliseconds of one forward pass, the median of thirty."""
    environment = dict(os.environ)
    environment["GOMP_SPINCOUNT"] = turns or "1000"
    threads = str(len(os.sched_getaffinity(0)) if turns else 1)
    command = [bench, "tiny", "--size", "16", "--threads", threads, "--repeats", "30"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return 1e3 * json.loads(result.stdout.splitlines()[-1])["median_s"]


def rounds(bench, count):
    found = {name: [] for name in CASES}
    for at in range(count):
        names = list(CASES) if at % 2 == 0 else list(reversed(CASES))
        for name in names:
            found[name].append(forward(bench, CASES[name]))
    return [statistics.median(times) for times in found.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bench", type=Path, default=ROOT / "build/native/bin/smpo_unet_bench")
    options = parser.parse_args()
    rows = {"idle": rounds(options.bench, options.rounds)}
    load = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in os.sched_getaffinity(0)]
    try:
        rows["one busy program per core"] = rounds(options.bench, options.rounds)
    finally:
        for process in load:
            process.kill()
            process.wait()
    print("| forward pass of a tiny UNet, ms | " + " | ".join(CASES) + " |")
    print("|---|" + "--:|" * len(CASES))
    for name, times in rows.items():
        print(f"| {name} | " + " | ".join(f"{time:.1f}" for time in times) + " |")


if __name__ == "__main__":
    main()
