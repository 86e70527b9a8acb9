#!/usr/bin/env python3
"""diffusers' UNet2DConditionModel with random weights, timed one iteration at a time: the peer of smpo_unet_bench.

    unet.py MODEL [--dtype f32|bf16|autocast] [--batch N] [--size N] [--tokens N] [--backward] [--compile] [--threads N]
            [--device cpu|cuda]

MODEL: tiny, sd15-half, sd15, sdxl-half or sdxl, with the same architecture as in smpo_unet_bench. Needs torch and diffusers
from PyPI (measured with torch 2.11.0, diffusers 0.42.1). The model is set up to be as fast as diffusers can be on a CPU
without changes to its code: channels_last, scaled_dot_product_attention, inference mode for forward passes, and
gradients released between iterations. `autocast` is fp32 weights under bf16 autocast, the usual way to train.

Protocol, which smpo_unet_bench --serve also implements: one JSON line when ready, with the floating-point operations of one
iteration; then, for each line "go" on stdin, one timed iteration and one JSON line with its seconds, the processor seconds of
all threads, and the peak resident bytes since the program was ready. The program ends with stdin.
"""

import argparse
import json
import os
import re
import sys
import time

SDXL = dict(
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    attention_head_dim=[5, 10, 20],
    transformer_layers_per_block=[1, 2, 10],
    cross_attention_dim=2048,
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816,
)
CONFIGS = {
    "tiny": dict(block_out_channels=[16, 24, 32, 32], attention_head_dim=2, cross_attention_dim=20, norm_num_groups=8),
    "sd15-half": dict(block_out_channels=[160, 320, 640, 640], attention_head_dim=8, cross_attention_dim=768),
    "sd15": dict(block_out_channels=[320, 640, 1280, 1280], attention_head_dim=8, cross_attention_dim=768),
    "sdxl-half": SDXL | dict(block_out_channels=[160, 320, 640]),
    "sdxl": SDXL | dict(block_out_channels=[320, 640, 1280]),
}


def resident(field):
    """Returns VmRSS (current) or VmHWM (peak) of this process in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(rf"^{field}:\s+(\d+) kB", status.read(), re.MULTILINE)[1]) * 1024


def reset_peak():
    with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", choices=CONFIGS)
    parser.add_argument("--dtype", choices=["f32", "bf16", "autocast"], default="f32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=77)
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser.parse_args()


def main():
    options = parse()
    try:
        import diffusers
        import torch
    except ImportError as missing:
        sys.exit(f"unet.py: {missing.name} is not installed here; pip install torch==2.11.0 diffusers==0.42.1")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    unet = diffusers.UNet2DConditionModel(**CONFIGS[options.model]).to(
        device=options.device, dtype=dtype, memory_format=torch.channels_last
    )
    unet.train(options.backward).requires_grad_(options.backward)
    channels = CONFIGS[options.model]["cross_attention_dim"]
    shape = [options.batch, 4, options.size, options.size]
    latents = torch.randn(shape, dtype=dtype, device=options.device).to(memory_format=torch.channels_last)
    timesteps = torch.full([options.batch], 500.0, device=options.device)
    context = torch.randn([options.batch, options.tokens, channels], dtype=dtype, device=options.device)
    cotangent = torch.randn(shape, dtype=dtype, device=options.device)
    added = None
    if options.model in ("sdxl", "sdxl-half"):
        added = {
            "text_embeds": torch.randn([options.batch, 1280], dtype=dtype, device=options.device),
            "time_ids": torch.full([options.batch, 6], 512.0, device=options.device),
        }
    wait = torch.cuda.synchronize if options.device == "cuda" else (lambda: None)
    if options.compile:
        # Freezing turns weights into constants, so it applies to inference only.
        import torch._inductor.config

        torch._inductor.config.freezing = not options.backward
        unet = torch.compile(unet, mode="max-autotune" if options.device == "cuda" else None)

    def iterate():
        with (
            torch.inference_mode(not options.backward),
            torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.dtype == "autocast"),
        ):
            prediction = unet(latents, timesteps, context, added_cond_kwargs=added, return_dict=False)[0]
        if options.backward:
            prediction.backward(cotangent.to(prediction.dtype))

    def say(**line):
        print(json.dumps(line), flush=True)

    from torch.utils.flop_counter import FlopCounterMode

    plain = getattr(unet, "_orig_mod", unet)
    with FlopCounterMode(display=False) as counter:
        prediction = plain(latents, timesteps, context, added_cond_kwargs=added, return_dict=False)[0]
        if options.backward:
            prediction.backward(cotangent.to(prediction.dtype))
    del prediction
    plain.zero_grad(set_to_none=True)

    for _ in range(1 if options.device == "cpu" else 5):  # Warms up; compiles.
        iterate()
    wait()
    if options.backward:
        unet.zero_grad(set_to_none=True)
    reset_peak()
    say(
        ready=True,
        flops=counter.get_total_flops(),
        contender="diffusers-compile" if options.compile else "diffusers",
        torch=torch.__version__,
        diffusers=diffusers.__version__,
        threads=torch.get_num_threads(),
        jemalloc="jemalloc" in os.environ.get("LD_PRELOAD", ""),
        parameters=sum(p.numel() for p in unet.parameters()),
        resident_bytes=resident("VmRSS"),
    )
    for line in sys.stdin:
        if line.strip() != "go":
            sys.exit(f"unet.py: expected the line go, got {line.strip()!r}")
        start, cpu_start = time.perf_counter(), time.process_time()
        iterate()
        wait()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        if options.backward:
            unet.zero_grad(set_to_none=True)
        say(seconds=seconds, cpu_seconds=cpu_seconds, peak_resident_bytes=resident("VmHWM"))


if __name__ == "__main__":
    main()
