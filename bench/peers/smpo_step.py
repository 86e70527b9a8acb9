#!/usr/bin/env python3
"""One SmPO step as published, in PyTorch eager on the CPU, timed by phase: the peer of smpo's training step.

    smpo_step.py MODEL [--dtype f32|autocast|bf16] [--timesteps T,T,...] [--inversion v020|v022]
                 [--renoise every_step|last_step|none] [--steps N] [--size N] [--tokens N] [--contiguous] [--fused]
                 [--gradient-checkpointing] [--threads N] [--jemalloc FILE|auto|none] [--warm-up step|state]
                 [--repetitions N]

MODEL is tiny, sd15-half or sd15: diffusers' UNet2DConditionModel with the same random weights for policy and reference. Needs
torch and diffusers from PyPI (measured with torch 2.11.0, diffusers 0.42.1).

The step is that of SmPO-Diffusion's training script (arXiv 2506.02698): one pair at a time, with one pair in the
global batch for each of --timesteps. The policy inverts winner and loser of a pair together on a grid of --steps, with two
evaluations per step under ReNoise; then policy and reference are evaluated, the loss (beta 2000, gamma 10, kappa 1/2) is
computed in fp32, and gradients accumulate. After the last pair they are clipped to norm 1 and AdamW updates. Dtypes: `f32`;
`autocast`, the published setting, with fp32 weights under bf16 autocast and a reference in bf16; `bf16`, with weights and AdamW's
state in bf16, which is faster but unsuitable for training. Faster than the published script: channels_last (unless
--contiguous), PyTorch's scaled dot product attention, jemalloc if it is found (LD_PRELOAD; the program restarts itself), and
optionally --fused AdamW. Decoding, VAE and text encoder are not included. The default timesteps take 4 inversion steps on
average under v020 and 3 under v022; uniform timesteps would take 3.79 and 3.

Protocol: one JSON line when ready, then for each line "go" on stdin one timed step and one JSON line; ends with stdin.
With --repetitions N it does not wait, and ends after N steps. Fields of a step: seconds; cpu_seconds of all threads; phases,
the seconds of invert, forward, reference, backward and update; unet_evaluations (each of a pair, without backward passes);
pairs; loss; peak_resident_bytes since the program was ready, weights included.
"""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

CONFIGS = {
    "tiny": dict(block_out_channels=[16, 24, 32, 32], attention_head_dim=2, cross_attention_dim=20, norm_num_groups=8),
    "sd15-half": dict(block_out_channels=[160, 320, 640, 640], attention_head_dim=8, cross_attention_dim=768),
    "sd15": dict(block_out_channels=[320, 640, 1280, 1280], attention_head_dim=8, cross_attention_dim=768),
}
JEMALLOC_PLACES = [
    "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
    "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2",
    "/usr/lib64/libjemalloc.so.2",
    "/usr/local/lib/libjemalloc.so.2",
]
# With -1 (never return memory), memory would grow without bound for varying shapes; 2 s keep the pages of a step.
JEMALLOC_SETTINGS = "dirty_decay_ms:2000,muzzy_decay_ms:2000"
BETA, GAMMA, KAPPA = 2000.0, 10.0, 0.5
LABEL = 0.6


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=CONFIGS)
    parser.add_argument("--dtype", choices=["f32", "autocast", "bf16"], default="autocast")
    parser.add_argument("--timesteps", default="350,650", help="timesteps of the pairs (default: 350,650)")
    parser.add_argument("--inversion", choices=["v020", "v022"], default="v020")
    parser.add_argument("--renoise", choices=["every_step", "last_step", "none"], default="every_step")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--size", type=int, help="height and width of the latents (default: 16 for tiny, else 64)")
    parser.add_argument("--tokens", type=int, default=77)
    parser.add_argument("--contiguous", action="store_true", help="do not use channels_last")
    parser.add_argument("--fused", action="store_true", help="use fused AdamW")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--jemalloc", default="auto")
    parser.add_argument("--warm-up", choices=["step", "state"], default="step",
                        help="warm-up before the first step; state: only allocate AdamW's state")
    parser.add_argument("--repetitions", type=int, help="number of steps to take without waiting for go")
    options = parser.parse_args()
    options.timesteps = [int(t) for t in options.timesteps.split(",")]
    if not all(0 <= t < 1000 for t in options.timesteps):
        parser.error(f"--timesteps: expected 0 to 999, got {options.timesteps}")
    return options


def preload(wanted):
    """Starts this program again with jemalloc, unless an allocator is preloaded already."""
    if wanted == "none" or "LD_PRELOAD" in os.environ:
        return
    if wanted != "auto" and not Path(wanted).exists():
        sys.exit(f"smpo_step.py: --jemalloc {wanted}: no such file")
    library = next((p for p in ([wanted] if wanted != "auto" else JEMALLOC_PLACES) if Path(p).exists()), None)
    if library:
        environment = dict(os.environ, LD_PRELOAD=library)
        environment.setdefault("MALLOC_CONF", JEMALLOC_SETTINGS)
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def resident(field):
    """Returns VmRSS (current) or VmHWM (peak) of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024


class Inverse:
    """The inverse DDIM schedule of Stable Diffusion, as in diffusers 0.20 or 0.22."""

    def __init__(self, torch, inversion, steps):
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.alphas_cumprod = torch.cumprod(1 - betas, 0).tolist()
        self.ratio = 1000 // steps
        grid = [i * self.ratio + 1 for i in range(steps)]
        # 0.20 begins a stride below the grid and evaluates the UNet at the source; 0.22 evaluates it at the destination.
        self.rolled = inversion == "v020"
        self.timesteps = [grid[0] - self.ratio] + grid[:-1] if self.rolled else grid

    def step(self, output, s, x):
        source, destination = (s, s + self.ratio) if self.rolled else (s - self.ratio, s)
        before, after = self.alphas_cumprod[max(source, 0)], self.alphas_cumprod[destination]
        clean = (x - (1 - before) ** 0.5 * output) / before**0.5
        return after**0.5 * clean + (1 - after) ** 0.5 * output


class Step:
    """Policy, reference and optimizer, and a training step."""

    def __init__(self, torch, diffusers, options):
        self.torch, self.options = torch, options
        layout = torch.contiguous_format if options.contiguous else torch.channels_last
        low = torch.float32 if options.dtype == "f32" else torch.bfloat16
        dtype = low if options.dtype == "bf16" else torch.float32
        torch.manual_seed(1)
        self.policy = diffusers.UNet2DConditionModel(**CONFIGS[options.model])
        self.reference = diffusers.UNet2DConditionModel(**CONFIGS[options.model])
        self.reference.load_state_dict(self.policy.state_dict())
        self.policy = self.policy.to(dtype=dtype, memory_format=layout).train()
        self.reference = self.reference.to(dtype=low, memory_format=layout).requires_grad_(False)
        if options.gradient_checkpointing:
            self.policy.enable_gradient_checkpointing()
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(), lr=1.024e-5, weight_decay=1e-2, fused=options.fused or None
        )
        self.inverse = Inverse(torch, options.inversion, options.steps)
        self.low = low
        size = options.size or (16 if options.model == "tiny" else 64)
        pairs, channels = len(options.timesteps), CONFIGS[options.model]["cross_attention_dim"]
        self.latents = torch.randn([pairs, 2, 4, size, size])
        self.words = torch.randn([pairs, 1, options.tokens, channels], dtype=low)

    def predict(self, unet, x, t, words):
        """Returns the prediction in fp32. The reference has its own precision and runs without autocast."""
        torch = self.torch
        autocast = self.options.dtype == "autocast" and unet is self.policy
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            timesteps = torch.full([len(x)], t)
            return unet(x.to(self.low), timesteps, words.expand(len(x), -1, -1), return_dict=False)[0].float()

    def make_state(self):
        """Allocates AdamW's moments, without which the first step would need less memory than later ones."""
        for parameter in self.policy.parameters():
            parameter.grad = self.torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def run(self, timesteps):
        torch, phases = self.torch, dict.fromkeys(["invert", "forward", "reference", "backward", "update"], 0.0)
        evaluations, total, last = 0, 0.0, time.perf_counter()

        def done(phase):
            nonlocal last
            now = time.perf_counter()
            phases[phase] += now - last
            last = now

        for x0, words, t in zip(self.latents, self.words, timesteps):
            with torch.no_grad():
                x, grid = x0, [s for s in self.inverse.timesteps if s < t]
                for i, s in enumerate(grid):
                    output = self.predict(self.policy, x, s, words)
                    evaluations += 1
                    if self.options.renoise == "every_step" or self.options.renoise == "last_step" and i == len(grid) - 1:
                        output = (output + self.predict(self.policy, self.inverse.step(output, s, x), s, words)) / 2
                        evaluations += 1
                    x = self.inverse.step(output, s, x)
                alpha = self.inverse.alphas_cumprod[t]
                target = (x - alpha**0.5 * x0) / (1 - alpha) ** 0.5
            done("invert")
            prediction = self.predict(self.policy, x, t, words)
            done("forward")
            with torch.no_grad():
                reference = self.predict(self.reference, x, t, words)
            done("reference")
            winner, loser = (prediction - target).square().mean([1, 2, 3])
            reference_winner, reference_loser = (reference - target).square().mean([1, 2, 3])
            delta = (winner - loser) - (reference_winner - reference_loser)
            loss = -torch.nn.functional.logsigmoid(-KAPPA * BETA * GAMMA * (2 * LABEL - 1) * delta) / len(timesteps)
            loss.backward()
            total += loss.item()
            evaluations += 2
            done("backward")
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        done("update")
        return dict(phases=phases, unet_evaluations=evaluations, pairs=len(timesteps), loss=total)


def main():
    options = parse()
    preload(options.jemalloc)
    try:
        import diffusers
        import torch
    except ImportError as missing:
        sys.exit(f"smpo_step.py: {missing.name} is not installed here; pip install torch==2.11.0 diffusers==0.42.1")
    diffusers.utils.logging.set_verbosity_error()
    if options.threads:
        torch.set_num_threads(options.threads)

    def say(**line):
        print(json.dumps(line), flush=True)

    step = Step(torch, diffusers, options)
    if options.warm_up == "step":
        # Every phase, including AdamW's state, with as little inversion as possible (t = 2: one or two steps).
        step.run([2] * len(options.timesteps))
    else:
        step.make_state()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    say(
        ready=True,
        contender="published-smpo",
        torch=torch.__version__,
        diffusers=diffusers.__version__,
        threads=torch.get_num_threads(),
        jemalloc="jemalloc" in os.environ.get("LD_PRELOAD", ""),
        channels_last=not options.contiguous,
        dtype=options.dtype,
        timesteps=options.timesteps,
        parameters=sum(p.numel() for p in step.policy.parameters()),
        resident_bytes=resident("VmRSS"),
    )
    for line in ["go"] * options.repetitions if options.repetitions is not None else sys.stdin:
        if line.strip() != "go":
            sys.exit(f"smpo_step.py: expected the line go, got {line.strip()!r}")
        start, cpu_start = time.perf_counter(), time.process_time()
        result = step.run(options.timesteps)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        say(seconds=seconds, cpu_seconds=cpu_seconds, **result, peak_resident_bytes=resident("VmHWM"))


if __name__ == "__main__":
    main()
