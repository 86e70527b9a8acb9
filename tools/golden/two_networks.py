"""Golden latents of diffusers' text-to-image pipelines with a second UNet on the negative side of guidance.

    python tools/golden/two_networks.py      writes java/src/test/resources/org/smpo/generate/two_networks/
                                             {two_networks.json, two_networks.safetensors, SHA256SUMS}

The pipelines evaluate both sides of guidance in one batch, negative rows first. Here the negative rows go through the
second UNet, as in pipeline_stable_diffusion_double_unet.py and its SDXL twin (G-U-N/Diffusion-NPO, commit a14f1db).
Pinned: torch 2.12.1, diffusers 0.42.1, transformers 5.24.0. Models, prompts and sizes are those of pipeline.py; the
second UNet has the same config, and its weights are those of synthetic.py under the names "negative.PARAMETER".

two_networks.json, per model of pipeline.json: its cases, as there, and
  condition   text for the second UNet: empty (the negative prompt) or prompt
two_networks.safetensors, per model and case K:
  MODEL.K.latents  [B, 4, 6, 5]  the sampler's last latents, from normal_like("MODEL.two.K.latents", [B, 4, 6, 5])
"""

import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from latents import write
from pipeline import ASTRONAUT, CATS, HEIGHT, SAMPLERS, STEPS, UGLY, WIDTH, assemble, build, case
from unet import FAMILIES

CASES = [
    dict(case(sampler, guidance_rescale=rescale), condition="empty") for sampler in SAMPLERS for rescale in (0.0, 0.7)
] + [
    dict(case("euler", [ASTRONAUT, CATS], [UGLY, ""], guidance_scale=3.0), condition="empty"),
    dict(case("dpmpp_2m", [CATS], guidance_scale=2.0), condition="prompt"),
]


def on_two_networks(unet, negative):
    """Sends the first half of each batch, the negative side, through another UNet."""
    positive = unet.forward

    def forward(sample, timestep, encoder_hidden_states, added_cond_kwargs=None, return_dict=True, **rest):
        halves = []
        for i, network in enumerate((negative, positive)):
            added = {k: v.chunk(2)[i] for k, v in (added_cond_kwargs or {}).items()}
            halves.append(
                network(
                    sample.chunk(2)[i], timestep, encoder_hidden_states=encoder_hidden_states.chunk(2)[i],
                    added_cond_kwargs=added or None, return_dict=False, **rest,
                )[0]
            )
        return (torch.cat(halves),)

    unet.forward = forward


def run(model, case, latents, temporary):
    parts = build(model, temporary)
    negative = UNet2DConditionModel(**FAMILIES[model["unet"]])
    synthetic.fill(negative, lambda n: "negative." + n).eval()
    scheduler = SAMPLERS[case["sampler"]].from_config(model["scheduler"])
    pipe = assemble(model, parts, scheduler)
    on_two_networks(pipe.unet, negative)
    with torch.no_grad():
        return pipe(
            prompt=case["prompts"],
            negative_prompt=case["prompts"] if case["condition"] == "prompt" else case["negative"],
            height=HEIGHT, width=WIDTH, num_inference_steps=STEPS, guidance_scale=case["guidance_scale"],
            guidance_rescale=case["guidance_rescale"], latents=latents, output_type="latent",
        ).images.float()


if __name__ == "__main__":
    write("two_networks", "two", CASES, run, ["sampler", "guidance_rescale"])
