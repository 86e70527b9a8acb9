"""One SmPO step with every intermediate, as published: pair by pair, on diffusers' UNet with torch's autograd.

    step.py MODEL --policy-unet DIR --batch B.safetensors --out O.safetensors     options as of `smpo trace`; see --help
    step.py compare O1 O2        worst relative L2 difference of each kind of tensor; exit 1 above the limits
    step.py tiny sd1|sdxl DIR    DIR/model, DIR/policy (a perturbed UNet), DIR/batch-{1,3,8}.safetensors as inputs for both

Pinned: torch 2.11.0, diffusers 0.42.1, safetensors. This script does not use smpo. The sources are SmPO-Diffusion (arXiv
2506.02698) and its training script: a micro-batch is one pair, winner and loser stacked; the policy inverts both, without
gradient or guidance, and steps while the grid's timestep is below t; policy and reference are evaluated at the resulting latents.

Batch: latents_w, latents_l [P,4,h,w], prompt_embeds [P,77,D], timesteps [P], p [P]; SDXL also pooled [P,E] and
time_ids [P,6]; --objective dpo also noise [P,4,h,w], which winner and loser share; --objective inpo, if it is there,
inversion_noise [P,2,K,4,h,w], standard normal, added after each step with weight --eta; K is n, for exact n + 1.
Out: noised_w.J, noised_l.J, target_w.J, target_l.J, pred_w.J, pred_l.J, ref_pred_w.J, ref_pred_l.J [4,h,w] of pair J,
errors.J [4] = (policy winner, policy loser, reference winner, reference loser), loss [] = mean over pairs, and
grad.PARAMETER of that mean for every parameter of the policy.

Networks, schedule and target are computed in --precision: fp32 as published, or fp64 to measure the rounding of fp32. Tables
are diffusers' (float32, or float64 with fp64). The published code rounds alphas_cumprod to fp16 in
the target, which is wrong by up to 15 % of 1 - alphas_cumprod at small t; here they are not rounded.
"""

import argparse
import math
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
warnings.filterwarnings("ignore")

PRECISIONS = dict(fp32=torch.float32, fp64=torch.float64)
LIMITS = dict(intermediates=1e-4, gradients=1e-3)
# A gradient that consists of rounding has no digits to compare: below this share of the whole gradient's norm, a tensor's
# difference is taken relative to this share.
NEGLIGIBLE = 1e-6


# ---- inverse schedulers


class V022:
    """DDIMInverseScheduler of diffusers 0.22 and later, which is the installed one: the UNet is evaluated at the destination."""

    def __init__(self, scheduler, steps):
        self.scheduler = scheduler
        self.scheduler.set_timesteps(steps)
        self.ratio = scheduler.config.num_train_timesteps // steps

    def below(self, t):
        return [s for s in self.scheduler.timesteps.tolist() if s < t]

    def step(self, output, s, x):
        return self.scheduler.step(output, s, x).prev_sample

    def levels(self, s):
        """alphas_cumprod before and after the step at s."""
        scheduler = self.scheduler
        before = s - self.ratio
        return scheduler.alphas_cumprod[before] if before >= 0 else scheduler.initial_alpha_cumprod, scheduler.alphas_cumprod[s]


class V020:
    """The scheduler of diffusers 0.20 and 0.21, which the authors pinned: the grid is rolled by one, so that its first
    timestep lies below 0, and the UNet is evaluated at the source."""

    def __init__(self, scheduler, steps):
        self.alphas_cumprod, self.initial = scheduler.alphas_cumprod, scheduler.initial_alpha_cumprod
        self.prediction_type = scheduler.config.prediction_type
        self.ratio = scheduler.config.num_train_timesteps // steps
        scheduler.set_timesteps(steps)
        grid = scheduler.timesteps.tolist()
        stride = self.ratio
        if scheduler.config.timestep_spacing == "trailing":
            stride = scheduler.config.num_train_timesteps / steps
        self.timesteps = [int(grid[0] - stride)] + grid[:-1]

    def below(self, t):
        return [s for s in self.timesteps if s < t]

    def levels(self, s):
        return self.alphas_cumprod[s] if s >= 0 else self.initial, self.alphas_cumprod[s + self.ratio]

    def step(self, output, s, x):
        source, destination = self.levels(s)
        clean, noise = clean_and_noise(self.prediction_type, output, x, source)
        return destination**0.5 * clean + (1 - destination) ** 0.5 * noise


class Exact:
    """The levels are the grid points below t and then t itself, so that the latents really are at level t; the UNet is
    evaluated at the destination. x' = A x + B output, with A and B in double; for a step of length 0, A = 1 and B = 0."""

    def __init__(self, scheduler, steps):
        self.alphas_cumprod, self.initial = scheduler.alphas_cumprod, scheduler.initial_alpha_cumprod
        self.prediction_type = scheduler.config.prediction_type
        scheduler.set_timesteps(steps)
        self.grid = scheduler.timesteps.tolist()

    def below(self, t):
        self.path = [s for s in self.grid if s < t] + [t]
        return self.path

    def levels(self, s):
        i = self.path.index(s)
        return self.alphas_cumprod[self.path[i - 1]] if i else self.initial, self.alphas_cumprod[s]

    def step(self, output, s, x):
        source, destination = (float(a) for a in self.levels(s))
        if self.prediction_type == "epsilon":
            a = math.sqrt(destination / source)
            b = math.sqrt(1 - destination) - a * math.sqrt(1 - source)
        elif self.prediction_type == "v_prediction":
            a = math.sqrt(destination * source) + math.sqrt((1 - destination) * (1 - source))
            b = math.sqrt((1 - destination) * source) - math.sqrt(destination * (1 - source))
        else:
            a = math.sqrt((1 - destination) / (1 - source))
            b = math.sqrt(destination) - a * math.sqrt(source)
        return a * x + b * output


INVERSIONS = dict(v020=V020, v022=V022, exact=Exact)


def clean_and_noise(prediction_type, output, x, alpha):
    """Returns the clean latents and the noise that correspond to an output at level alpha."""
    if prediction_type == "epsilon":
        return (x - (1 - alpha) ** 0.5 * output) / alpha**0.5, output
    if prediction_type == "v_prediction":
        return alpha**0.5 * x - (1 - alpha) ** 0.5 * output, alpha**0.5 * output + (1 - alpha) ** 0.5 * x
    return output, (x - alpha**0.5 * output) / (1 - alpha) ** 0.5


def scheduler_of(config, precision="fp32"):
    """diffusers' DDIMInverseScheduler from any scheduler's config. Never clamps: the default when a
    config lacks clip_sample would clamp latents and change the model."""
    import diffusers

    # It warns about every key of another scheduler's config.
    diffusers.utils.logging.set_verbosity_error()
    kind = diffusers.DDIMInverseScheduler
    if precision == "fp64":
        from schedule import in_double

        kind = in_double("DDIMInverseScheduler")
    if config.get("clip_sample"):
        raise ValueError("clip_sample: expected false, the model's latents are not pixels")
    return kind.from_config({**config, "clip_sample": False})


# ---- the step


def invert(unet, inverse, x, t, renoise, fresh=None, eta=0.0):
    """Returns the noised latents of the rows x, which share the training timestep t. unet: (x, timestep) -> output."""
    steps = inverse.below(t)
    if fresh is not None and fresh.shape[1] < len(steps):
        raise ValueError(f"inversion_noise: expected noise for {len(steps)} steps, got {fresh.shape[1]}")
    for i, s in enumerate(steps):
        output = unet(x, s)
        if renoise == "every_step" or renoise == "last_step" and i == len(steps) - 1:
            output = (output + unet(inverse.step(output, s, x), s)) / 2
        x = inverse.step(output, s, x)
        if fresh is not None:
            source, destination = inverse.levels(s)
            variance = (1 - source) / (1 - destination) * (1 - destination / source)
            x = x + eta * variance**0.5 * fresh[:, i]
    return x


def target_of(prediction_type, x, x0, alpha):
    """Returns the output at x, taken to be at level alpha, for which x0 are the clean latents."""
    noise = (x - alpha**0.5 * x0) / (1 - alpha) ** 0.5
    if prediction_type == "epsilon":
        return noise
    return alpha**0.5 * noise - (1 - alpha) ** 0.5 * x0 if prediction_type == "v_prediction" else x0


def pair_loss(objective, errors, p, beta, gamma, kappa):
    winner, loser, reference_winner, reference_loser = errors
    logit = -kappa * beta * ((winner - loser) - (reference_winner - reference_loser))
    if objective == "smpo":
        logit = gamma * (2 * p - 1) * logit
    return -torch.nn.functional.logsigmoid(logit)


def trace(policy, reference, scheduler, batch, *, objective="smpo", beta=2000.0, gamma=10.0, kappa=0.5, inversion="v020",
          steps=5, renoise="every_step", eta=0.1):
    """Returns all tensors of the step; the policy keeps its gradients."""
    dtype = next(policy.parameters()).dtype
    inverse = INVERSIONS[inversion](scheduler, steps)
    kind = scheduler.config.prediction_type
    pairs = len(batch["timesteps"])
    out, total = {}, 0.0
    policy.zero_grad()
    for j in range(pairs):
        t = int(batch["timesteps"][j])
        x0 = torch.stack([batch["latents_w"][j], batch["latents_l"][j]]).to(dtype)
        words = batch["prompt_embeds"][j].to(dtype).expand(2, -1, -1)
        added = None
        if "pooled" in batch:
            added = dict(text_embeds=batch["pooled"][j].to(dtype).expand(2, -1), time_ids=batch["time_ids"][j].to(dtype).expand(2, -1))

        def run(unet, x, s):
            return unet(x, torch.full([len(x)], s), words, added_cond_kwargs=added).sample

        alpha = scheduler.alphas_cumprod[t].to(dtype)
        with torch.no_grad():
            if objective == "dpo":
                target = batch["noise"][j].to(dtype).expand_as(x0)
                x = alpha**0.5 * x0 + (1 - alpha) ** 0.5 * target
                if kind != "epsilon":
                    target = target_of(kind, x, x0, alpha)
            else:
                fresh = batch.get("inversion_noise") if objective == "inpo" else None
                fresh = None if fresh is None else fresh[j].to(dtype)
                x = invert(lambda x, s: run(policy, x, s), inverse, x0, t, renoise, fresh, eta)
                target = target_of(kind, x, x0, alpha)
            reference_output = run(reference, x, t)
        output = run(policy, x, t)
        # The loss is taken in float32 at least, and rows are reduced one by one: the mean over channels and pixels.
        errors = [(y[row] - target[row]).square().mean() for y in (output, reference_output) for row in (0, 1)]
        loss = pair_loss(objective, errors, batch["p"][j].to(dtype), beta, gamma, kappa)
        (loss / pairs).backward()
        total += loss.item() / pairs
        for name, rows in dict(noised=x, target=target, pred=output.detach(), ref_pred=reference_output).items():
            out[f"{name}_w.{j}"], out[f"{name}_l.{j}"] = rows[0].clone(), rows[1].clone()
        out[f"errors.{j}"] = torch.stack(errors).detach()
    out["loss"] = torch.tensor(total, dtype=dtype)
    for name, parameter in policy.named_parameters():
        gradient = parameter.grad
        out["grad." + name] = torch.zeros_like(parameter) if gradient is None else gradient.clone()
    return out


# ---- commands


def load_unet(folder, dtype):
    from diffusers import UNet2DConditionModel

    folder = Path(folder)
    folder = folder if (folder / "config.json").exists() else folder / "unet"
    return UNet2DConditionModel.from_pretrained(folder, torch_dtype=dtype).train()


def command_trace(arguments):
    parser = argparse.ArgumentParser(prog="step.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="diffusers folder: scheduler, and unet as the reference")
    parser.add_argument("--policy-unet", help="folder of a UNet, or of a model; default: the reference's")
    parser.add_argument("--batch", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--objective", choices=["smpo", "dpo", "inpo"], default="smpo")
    parser.add_argument("--beta", type=float, default=2000)
    parser.add_argument("--gamma", type=float, default=10)
    parser.add_argument("--kappa", type=float, default=0.5)
    parser.add_argument("--inversion", choices=list(INVERSIONS), default="v020")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--renoise", choices=["every_step", "last_step", "none"], default="every_step")
    parser.add_argument("--eta", type=float, default=0.1, help="inpo: weight of inversion_noise")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    o = parser.parse_args(arguments)
    torch.set_num_threads(o.threads)
    dtype = PRECISIONS[o.precision]
    import json

    config = json.loads((Path(o.model) / "scheduler/scheduler_config.json").read_text())
    out = trace(
        load_unet(o.policy_unet or o.model, dtype), load_unet(o.model, dtype).requires_grad_(False),
        scheduler_of(config, o.precision), load_file(o.batch), objective=o.objective, beta=o.beta, gamma=o.gamma,
        kappa=o.kappa, inversion=o.inversion, steps=o.steps, renoise=o.renoise, eta=o.eta,
    )
    settings = {k: str(v) for k, v in vars(o).items() if k not in ("model", "policy_unet", "batch", "out", "threads")}
    save_file({k: v.contiguous() for k, v in out.items()}, o.out, metadata=settings)
    print(f"loss {out['loss'].item():.9g}, {len(out)} tensors")


def differences(actual, expected):
    """Returns {tensor: relative L2 difference}; infinite if a tensor is missing, unexpected, of another size or not finite."""
    gradients = [v.double().norm() for k, v in expected.items() if k.startswith("grad.")]
    whole = torch.stack(gradients).norm().item() if gradients else 0.0
    result = {name: math.inf for name in set(actual) ^ set(expected)}
    for name in set(actual) & set(expected):
        a, e = actual[name].double().flatten(), expected[name].double().flatten()
        if a.shape != e.shape or not a.isfinite().all() or not e.isfinite().all():
            result[name] = math.inf
            continue
        difference, norm = (a - e).norm().item(), e.norm().item()
        if name.startswith("grad."):
            norm = max(norm, NEGLIGIBLE * whole)
        result[name] = difference / norm if norm else (math.inf if difference else 0.0)
    return result


def report(found, limits, quiet=False):
    """Prints the worst tensor of each kind. Returns whether all are within the limits."""
    kinds = {}
    for name, value in found.items():
        kind = "gradients" if name.startswith("grad.") else name.split(".")[0].removesuffix("_w").removesuffix("_l")
        kinds.setdefault(kind, []).append((value, name))
    good = True
    for kind, values in kinds.items():
        worst, name = max(values)
        limit = limits["gradients" if kind == "gradients" else "intermediates"]
        good &= worst <= limit
        if not quiet:
            print(f"{kind:12} {len(values):5} tensors, worst {worst:.3e} of {limit:.0e} ({name}){'' if worst <= limit else '  FAIL'}")
    return good


def command_compare(arguments):
    parser = argparse.ArgumentParser(prog="step.py compare", description="Relative L2 differences, tensor by tensor.")
    parser.add_argument("actual")
    parser.add_argument("expected", help="the one whose norms they are relative to")
    for group, limit in LIMITS.items():
        parser.add_argument(f"--{group}", type=float, default=limit, help=f"limit, default {limit:g}")
    o = parser.parse_args(arguments)
    actual, expected = load_file(o.actual), load_file(o.expected)
    for which, names in ((o.actual, set(expected) - set(actual)), (o.expected, set(actual) - set(expected))):
        for name in sorted(names)[:20]:
            print(f"{which}: no tensor {name}")
    good = report(differences(actual, expected), vars(o))
    sys.exit(0 if good else 1)


# ---- a tiny model

# t of the pairs: the ends, both sides of grid points, and between. Chosen, with the labels, so that fp32 itself keeps well
# within the limits: the logit is a difference of errors times beta gamma kappa (2 p - 1), up to 4600. Not t = 2, where v020
# ends at level 201 and errors are 13 to 15: with p = 0.731 there, gradients in fp32 and fp64 differed by up to 9e-3.
TIMESTEPS = [0, 1, 999, 201, 602, 60, 500, 150]
LABELS = [0.53, 0.55, 0.507, 0.58, 0.46, 0.515, 0.56, 0.59]


def batch_of(random, pairs, config, height, width, tokens=77):
    """Returns a batch for a UNet's config. random: (name, shape) -> float32 tensor with a variance of about 1."""
    batch = dict(
        latents_w=random("latents_w", [pairs, 4, height, width]),
        latents_l=random("latents_l", [pairs, 4, height, width]),
        prompt_embeds=random("prompt_embeds", [pairs, tokens, config["cross_attention_dim"]]),
        timesteps=torch.tensor(TIMESTEPS[:pairs]),
        p=torch.tensor(LABELS[:pairs]),
    )
    if config.get("addition_embed_type") == "text_time":
        sizes = 6 * config["addition_time_embed_dim"]
        batch["pooled"] = random("pooled", [pairs, config["projection_class_embeddings_input_dim"] - sizes])
        side = torch.arange(pairs) * 8
        batch["time_ids"] = torch.stack([8 * height + side, 8 * width + side, side, 0 * side, 8 * height + 0 * side, 8 * width + 0 * side], 1).float()
    return batch


def tiny_pipeline(family, folder):
    """Writes a complete pipeline with random weights, which every reader of model folders accepts. Its tokens are letters."""
    import json

    import diffusers
    import transformers
    from schedule import SD15, SDXL
    from unet import FAMILIES

    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    unet = diffusers.UNet2DConditionModel(**FAMILIES[family])
    blocks = 4
    vae = diffusers.AutoencoderKL(
        block_out_channels=[8, 8, 16, 16], down_block_types=["DownEncoderBlock2D"] * blocks,
        up_block_types=["UpDecoderBlock2D"] * blocks, latent_channels=4, norm_num_groups=4, layers_per_block=1,
        scaling_factor=0.18215 if family == "sd1" else 0.13025,
    )
    letters = [chr(c) for c in range(33, 127)]
    words = letters + [c + "</w>" for c in letters] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({word: i for i, word in enumerate(words)}))
    merges.write_text("#version: 0.2\n")

    def tokenizer():
        return transformers.CLIPTokenizer(str(vocabulary), str(merges), model_max_length=77)

    def encoder(kind, width, act, projection):
        return kind(transformers.CLIPTextConfig(
            vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
            num_attention_heads=2, hidden_act=act, projection_dim=projection, bos_token_id=len(words) - 2,
            eos_token_id=len(words) - 1, pad_token_id=len(words) - 1,
        ))

    one, two = transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection
    if family == "sd1":
        pipeline = diffusers.StableDiffusionPipeline(
            unet=unet, vae=vae, tokenizer=tokenizer(), text_encoder=encoder(one, 20, "quick_gelu", 20),
            scheduler=diffusers.PNDMScheduler.from_config(SD15), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )
    else:
        pipeline = diffusers.StableDiffusionXLPipeline(
            unet=unet, vae=vae, tokenizer=tokenizer(), text_encoder=encoder(one, 8, "quick_gelu", 8),
            tokenizer_2=tokenizer(), text_encoder_2=encoder(two, 12, "gelu", 12),
            scheduler=diffusers.EulerDiscreteScheduler.from_config(SDXL),
        )
    vocabulary.unlink()
    merges.unlink()
    return pipeline


def command_tiny(arguments):
    parser = argparse.ArgumentParser(prog="step.py tiny", description="A small model, a policy near it, and batches.")
    parser.add_argument("family", choices=["sd1", "sdxl"])
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--perturbation", type=float, default=3e-3, help="of the policy's weights, relative")
    o = parser.parse_args(arguments)
    torch.manual_seed(o.seed)
    folder = Path(o.folder)
    pipeline = tiny_pipeline(o.family, folder)
    pipeline.save_pretrained(folder / "model")
    unet = pipeline.unet
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += o.perturbation * parameter.std(correction=0).clamp(min=1e-2) * torch.randn_like(parameter)
    unet.save_pretrained(folder / "policy")
    whole = batch_of(lambda name, shape: torch.randn(shape), 8, dict(unet.config), 16, 12)
    for pairs in (1, 3, 8):
        # One pair alone is the third: its t is 999, and the first two have little to invert.
        chosen = [2] if pairs == 1 else list(range(pairs))
        save_file({k: v[chosen].contiguous() for k, v in whole.items()}, folder / f"batch-{pairs}.safetensors")


def main():
    commands = dict(compare=command_compare, tiny=command_tiny)
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    commands.get(name, command_trace)(sys.argv[2:] if name in commands else sys.argv[1:])


if __name__ == "__main__":
    main()
