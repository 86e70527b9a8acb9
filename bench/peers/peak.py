#!/usr/bin/env python3
"""Measures the machine's rate for matrix products, to which the other contenders' rates are compared.

    peak.py [--threads N]

The product is oneDNN's, 2048 x 2048 by 2048 in fp32 with packed weights, LibTorch's fastest product on a
CPU with AVX-512. Needs torch from PyPI. Protocol: that of unet.py; `flops` in the first line counts one iteration.
"""

import argparse
import json
import sys
import time

SIZE = 2048
TURNS = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=0, help="number of threads (default: torch's choice)")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("peak.py: torch is not installed here; pip install torch==2.11.0")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    x, weight = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    with torch.inference_mode():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, SIZE)

        def iterate():
            for _ in range(TURNS):
                torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")

        iterate()
        print(json.dumps({"ready": True, "contender": "peak", "flops": 2 * TURNS * SIZE**3}), flush=True)
        for line in sys.stdin:
            if line.strip() != "go":
                sys.exit(f"peak.py: expected the line go, got {line.strip()!r}")
            start, cpu_start = time.perf_counter(), time.process_time()
            iterate()
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
            print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_resident_bytes": 0}), flush=True)


if __name__ == "__main__":
    main()
