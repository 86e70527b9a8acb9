"""`smpo trace` against tools/golden/step.py: every intermediate and gradient of one SmPO step on small models.

    python tools/golden/check_trace.py WORK SMPO...     SMPO...: how to start the command, as in `tools/smpo`
                                                        WORK: a folder for models, batches and results

Pinned: torch 2.11.0, diffusers 0.42.1, safetensors. The models are those of `step.py tiny`. For every family, inversion
semantics, ReNoise setting and number of pairs: the worst relative L2 difference over noised latents, targets, predictions,
errors and loss ("intermediates"), and over the gradient of each parameter. There are three comparisons, since fp32 itself has rounding errors:

    smpo    smpo trace with fp64             our rounding alone
    fp32    step.py in fp32 with fp64        the published algorithm's own rounding
    both    smpo trace with step.py in fp32  must be within the limits: 1e-4 and 1e-3

Exit code 1 when ours is not within the limits of fp64 or of fp32. check_trace.txt is the output of the last run.
"""

import json
import subprocess
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
import step

FAMILIES = ("sd1", "sdxl")
READINGS = ("v020", "v022", "exact")
RENOISE = ("every_step", "last_step", "none")


def worst(actual, expected):
    kinds = dict(intermediates=0.0, gradients=0.0)
    for name, value in step.differences(actual, expected).items():
        kind = "gradients" if name.startswith("grad.") else "intermediates"
        kinds[kind] = max(kinds[kind], value)
    return kinds


def refused(actual, expected):
    return not step.report(step.differences(actual, expected), step.LIMITS, quiet=True)


def main():
    work, smpo = Path(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    good = True
    print("python tools/golden/check_trace.py WORK tools/smpo")
    print(f"diffusers {diffusers.__version__} torch {torch.__version__}; limits: {step.LIMITS}")
    for family in FAMILIES:
        folder = work / family
        if not (folder / "policy").exists():
            subprocess.run([sys.executable, str(Path(step.__file__)), "tiny", family, str(folder)], check=True)
        config = json.loads((folder / "model/scheduler/scheduler_config.json").read_text())
        unets = {
            precision: (step.load_unet(folder / "policy", dtype), step.load_unet(folder / "model", dtype).requires_grad_(False))
            for precision, dtype in step.PRECISIONS.items()
        }
        print(f"\n{family:5} {'':6} {'':11} {'':5} {'intermediates':^26}  {'gradients':^26}".rstrip())
        print("      " + f"{'':6} {'':11} {'pairs':5} {'smpo':>8} {'fp32':>8} {'both':>8}  {'smpo':>8} {'fp32':>8} {'both':>8}")
        for reading in READINGS:
            for renoise in RENOISE:
                for pairs in (1, 3, 8):
                    batch, out = folder / f"batch-{pairs}.safetensors", folder / "out.safetensors"
                    options = ["--inversion", reading, "--renoise", renoise, "--threads", "1"]
                    subprocess.run(
                        [*smpo, "trace", str(folder / "model"), "--policy-unet", str(folder / "policy"), "--batch", str(batch),
                         "--out", str(out), *options],
                        check=True, stdout=subprocess.DEVNULL,
                    )
                    ours = load_file(out)
                    oracle = {
                        precision: step.trace(
                            *unets[precision], step.scheduler_of(config, precision), load_file(batch), inversion=reading,
                            renoise=renoise,
                        )
                        for precision in step.PRECISIONS
                    }
                    found = [worst(ours, oracle["fp64"]), worst(oracle["fp32"], oracle["fp64"]), worst(ours, oracle["fp32"])]
                    fails = refused(ours, oracle["fp64"]) or refused(ours, oracle["fp32"])
                    # An error of twice a limit must be detected.
                    for name, limit in (("target_l.0", "intermediates"), ("grad.conv_in.weight", "gradients")):
                        assert refused({**ours, name: ours[name] * (1 + 2 * step.LIMITS[limit])}, ours)
                    good &= not fails
                    row = "  ".join(" ".join(f"{f[kind]:8.1e}" for f in found) for kind in ("intermediates", "gradients"))
                    print(f"      {reading:6} {renoise:11} {pairs:5} {row}{'  FAIL' if fails else ''}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
