"""Trains the demo's small model and its reward from rendered scenes.

    tools/smpo demo draw --scenes 40000 --seed 1 --out SCENES
    python tools/demo/model.py SCENES OUT [STAGE ...]

Pinned: torch 2.11.0, diffusers 0.42.1, transformers 5.23.0. The stages are tokenizer, vae, unet, cut, reward and pack; without
a STAGE argument, all of them run in this order. OUT/model is a Stable Diffusion pipeline in the diffusers layout and OUT/reward a
CLIP model in the transformers layout, both in float16. OUT/training.json records the duration and the last losses of each
stage. The pack stage copies everything into the resources of the demo's Java classes. The whole script takes less than two hours
on two cores. Floating-point sums differ between CPU types, so another machine produces a model of the same quality but not the
same bytes.

The scenes contain no held-out caption (org.smpo.demo.Scene#heldOut), so neither network has seen one.
"""

import hashlib
import json
import math
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

sys.path.insert(0, str(Path(__file__).parent))
import scenes

SEED = 20260
PEAK = 1.2e-3  # learning rate of the denoiser
TOKENS = 16  # the longest caption has eight words; start and end tokens are added
TEXT_WIDTH = 96
REWARD_WIDTH = 80
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]  # CLIP's
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
COLOURS = "red yellow green cyan blue purple".split()
SHAPES = "circle square triangle ring".split()
RELATIONS = "left of", "right of", "above", "below"


def merges_of(words):
    """Returns the byte-pair merges that make every word one token: most frequent pair first, ties in alphabetical order."""
    parts = {word: [*word[:-1], word[-1] + WORD_END] for word in words}
    merges = []
    while any(len(part) > 1 for part in parts.values()):
        pairs = Counter(pair for part in parts.values() for pair in zip(part, part[1:]))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, part in parts.items():
            joined, i = [], 0
            while i < len(part):
                step = 2 if tuple(part[i : i + 2]) == best else 1
                joined.append("".join(part[i : i + step]))
                i += step
            parts[word] = joined
    return merges


def byte_letters():
    """Returns the characters that represent bytes in CLIP's vocabulary."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(256 - len(kept))]


def tokenizer(out):
    """Writes a CLIP tokenizer whose vocabulary holds every byte, and every caption word as one token."""
    merges = merges_of(scenes.VOCABULARY)
    letters = byte_letters()
    tokens = dict.fromkeys([*letters, *(letter + WORD_END for letter in letters), *(a + b for a, b in merges), START, END])
    folder = out / "vocabulary"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    made = load_tokenizer(out)
    for word in scenes.VOCABULARY:
        assert len(made(word).input_ids) == 3, word
    return {"tokens": len(tokens)}


def load_tokenizer(out):
    folder = out / "vocabulary"
    vocabulary = json.loads((folder / "vocab.json").read_text())
    merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    return CLIPTokenizer(
        vocab=vocabulary, merges=merges, unk_token=END, bos_token=START, eos_token=END, pad_token=END, model_max_length=TOKENS
    )


def ids_of(out, captions):
    return load_tokenizer(out)(
        list(captions), padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
    ).input_ids


def rate(step, steps, peak, warmup=100):
    """Learning rate: linear warm-up, then cosine decay to 1 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))


class Average:
    """Exponential moving average of the weights; `keep` copies it into the modules."""

    def __init__(self, modules, decay):
        self.decay = decay
        self.weights = [p for module in modules for p in module.parameters()]
        self.mean = [p.detach().clone() for p in self.weights]

    @torch.no_grad()
    def update(self, step):
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, self.weights, 1 - decay)

    @torch.no_grad()
    def keep(self):
        torch._foreach_copy_(self.weights, self.mean)


def train(name, steps, peak, modules, loss_of, decay=0.999, weight_decay=0.01, rate=rate):
    """Minimises loss_of(step), prints progress every 100 steps, and leaves the EMA weights in the modules."""
    weights = [p for module in modules for p in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=peak, betas=(0.9, 0.99), weight_decay=weight_decay, foreach=True)
    average = Average(modules, decay)
    losses, began = [], time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, peak)
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        average.update(step)
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            print(f"{name} {step + 1}/{steps} loss {np.mean(losses[-100:]):.5f} {time.time() - began:.0f} s", flush=True)
    average.keep()
    return {"steps": steps, "loss": float(np.mean(losses[-100:])), "parameters": sum(p.numel() for p in weights)}


def vae(out, images, steps=2000, batch=16):
    """Trains an autoencoder that downsamples by 8 like SD's, on squared error, absolute error and SD's KL weight."""
    torch.manual_seed(SEED)
    model = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(16, 24, 40, 56),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=scenes.SIDE,
    )
    generator = torch.Generator().manual_seed(SEED)

    def loss_of(_):
        rows = torch.randint(len(images), (batch,), generator=generator).numpy()
        x = torch.from_numpy(scenes.unit(images[rows]))
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample(generator)).sample
        return F.mse_loss(y, x) + 0.1 * F.l1_loss(y, x) + 1e-6 * posterior.kl().mean()

    result = train("vae", steps, 2e-3, [model], loss_of, decay=0.995, weight_decay=0)
    with torch.no_grad():
        x = torch.from_numpy(scenes.unit(images[:256]))
        latents = model.encode(x).latent_dist.sample(generator)
        result["mse"] = F.mse_loss(model.decode(latents).sample, x).item()
        model.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    model.save_pretrained(out / "parts/vae")
    return result


@torch.no_grad()
def moments(model, images):
    parts = [model.encode(torch.from_numpy(scenes.unit(images[i : i + 250]))).latent_dist for i in range(0, len(images), 250)]
    scale = model.config.scaling_factor
    return torch.cat([p.mean for p in parts]) * scale, torch.cat([p.std for p in parts]) * scale


@torch.no_grad()
def through(model, images, generator):
    """Returns images encoded and decoded by the autoencoder; they resemble generated images."""
    decoded = []
    for i in range(0, len(images), 250):
        latents = model.encode(torch.from_numpy(scenes.unit(images[i : i + 250]))).latent_dist.sample(generator)
        decoded.append(((model.decode(latents).sample / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8))
    return torch.cat(decoded)


def denoising(out, model, text, images, captions, generator, batch=64):
    """Returns the denoising loss; one caption in ten is replaced by the empty one, for classifier-free guidance."""
    ids = ids_of(out, captions)
    empty = ids_of(out, [""])[0]
    mean, std = moments(AutoencoderKL.from_pretrained(out / "parts/vae"), images)
    schedule = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)

    def loss_of(_):
        rows = torch.randint(len(ids), (batch,), generator=generator)
        latents = mean[rows] + std[rows] * torch.randn(batch, 4, 8, 8, generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(1000, (batch,), generator=generator)
        drop = torch.rand(batch, 1, generator=generator) < 0.1
        states = text(torch.where(drop, empty, ids[rows])).last_hidden_state
        noisy = schedule.add_noise(latents, noise, timesteps)
        return F.mse_loss(model(noisy, timesteps, states).sample, noise)

    return loss_of


def unet(out, images, captions, steps=2600):
    """Trains the denoiser together with its text encoder."""
    torch.manual_seed(SEED + 1)
    size = load_tokenizer(out).vocab_size
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=size - 2,
            eos_token_id=size - 1,
            pad_token_id=size - 1,
        )
    )
    model = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 88),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    generator = torch.Generator().manual_seed(SEED + 1)
    loss_of = denoising(out, model, text, images, captions, generator)
    result = train("unet", steps, PEAK, [model, text], loss_of)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(out / "parts/vae"),
        text_encoder=text,
        tokenizer=load_tokenizer(out),
        unet=model,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out / "parts/settled")
    return result


def cut(out, images, captions, steps=200, batch=64):
    """Continues training at the peak learning rate and keeps the last weights instead of the EMA weights.

    The result is deliberately undertrained, to leave room for improvement: a third of its images show their caption, and
    many others nearly do."""
    seen = steps * batch
    pipeline = StableDiffusionPipeline.from_pretrained(out / "parts/settled", safety_checker=None).to(dtype=torch.float32)
    model, text = pipeline.unet.train(), pipeline.text_encoder.train()
    generator = torch.Generator().manual_seed(SEED + 3)
    loss_of = denoising(out, model, text, images[:seen], captions[:seen], generator, batch)
    result = train("cut", steps, PEAK, [model, text], loss_of, decay=0, rate=lambda *_: PEAK)
    pipeline.to(dtype=torch.float16).save_pretrained(out / "model")
    return result


def plural(words):
    return [word + "s" for word in words]


def altered(caption, random):
    """Returns a caption that differs in one attribute: a colour, a shape, the number, the size or the relation; or, with two
    objects, with their colours or shapes swapped."""
    words = caption.replace("left of", "left_of").replace("right of", "right_of").split()

    def other(word, of):
        return random.choice([w for w in of if w != word])

    changes = []
    for i, word in enumerate(words):
        for of in COLOURS, SHAPES, plural(SHAPES), ["small", "large"], [r.replace(" ", "_") for r in RELATIONS]:
            if word in of:
                changes.append([(i, other(word, of))])
    if words[0] in ("two", "three"):
        changes.append([(0, "three" if words[0] == "two" else "two")])
    if len(words) == 7:  # a COLOUR SHAPE RELATION a COLOUR SHAPE
        changes += [[(1, words[5]), (5, words[1])], [(2, words[6]), (6, words[2])]]
    for i, word in changes[random.integers(len(changes))]:
        words[i] = word
    return " ".join(words).replace("_of", " of")


def reward(out, images, captions, steps=1200, batch=128, hard=3, coded=8000):
    """Trains a small CLIP model to tell an image's caption from the batch's other captions and from slightly altered ones.

    Half of the images have passed through the autoencoder, as generated images have."""
    torch.manual_seed(SEED + 2)
    size = load_tokenizer(out).vocab_size
    tower = dict(hidden_size=REWARD_WIDTH, intermediate_size=3 * REWARD_WIDTH, num_attention_heads=4)
    marks = dict(bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1)
    model = CLIPModel(
        CLIPConfig(
            text_config=dict(
                tower, vocab_size=size, num_hidden_layers=2, max_position_embeddings=TOKENS, projection_dim=REWARD_WIDTH, **marks
            ),
            vision_config=dict(tower, image_size=scenes.SIDE, patch_size=8, num_hidden_layers=4, projection_dim=REWARD_WIDTH),
            projection_dim=REWARD_WIDTH,
        )
    )
    with torch.no_grad():
        for tower_model in model.text_model, model.vision_model:
            for p in tower_model.parameters():
                if p.dim() > 1 and p.std() < 0.02:
                    p.mul_(0.02 / p.std())  # CLIP's initialization is meant for wide towers
    generator = torch.Generator().manual_seed(SEED + 2)
    random = np.random.default_rng(SEED + 2)
    mean, deviation = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    decoded = through(AutoencoderKL.from_pretrained(out / "parts/vae"), images[:coded], generator)
    rendered = torch.from_numpy(images).permute(0, 3, 1, 2)
    table = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
    cache = {}

    def tokens(texts):
        new = [text for text in dict.fromkeys(texts) if text not in cache]
        if new:
            cache.update(zip(new, ids_of(out, new)))
        return torch.stack([cache[text] for text in texts])

    def embed(pixels, texts):
        image_features = model.visual_projection(model.vision_model((pixels.float() / 255 - mean) / deviation).pooler_output)
        text_features = model.text_projection(model.text_model(tokens(texts)).pooler_output)
        return F.normalize(image_features, dim=-1), F.normalize(text_features, dim=-1)

    def loss_of(_):
        half = torch.randint(len(rendered), (batch // 2,), generator=generator)
        other = torch.randint(coded, (batch - batch // 2,), generator=generator)
        texts = [captions[row] for row in torch.cat([half, other])]
        wrong = [altered(text, random) for text in texts for _ in range(hard)]
        image_features, text_features = embed(torch.cat([rendered[half], decoded[other]]), texts + wrong)
        scale = model.logit_scale.exp().clamp(max=100)
        right, near = text_features[:batch], text_features[batch:].view(batch, hard, -1)
        logits = scale * image_features @ right.T
        same = torch.tensor([table[text] for text in texts])
        equal = same[:, None] == same[None, :]
        equal.fill_diagonal_(False)
        logits = logits.masked_fill(equal, -1e4)
        close = scale * torch.einsum("bd,bkd->bk", image_features, near)
        target = torch.arange(batch)
        return (F.cross_entropy(torch.cat([logits, close], 1), target) + F.cross_entropy(logits.T, target)) / 2

    result = train("reward", steps, 2e-3, [model], loss_of, weight_decay=0.05)
    model.to(torch.float16).save_pretrained(out / "reward")
    load_tokenizer(out).save_pretrained(out / "reward")
    side = dict(height=scenes.SIDE, width=scenes.SIDE)
    CLIPImageProcessorPil(size=dict(shortest_edge=scenes.SIDE), crop_size=side, image_mean=MEAN, image_std=STD).save_pretrained(
        out / "reward"
    )
    return result


def pack(out):
    """Copies the models into the resources of org.smpo.demo and writes their digests."""
    target = Path(__file__).resolve().parents[2] / "java/src/main/resources/org/smpo/demo"
    for name in "model", "reward":
        shutil.rmtree(target / name, ignore_errors=True)
        shutil.copytree(out / name, target / name)
    for config in target.glob("model/**/*.json"):
        # diffusers records the path that a model was loaded from.
        lines = [line for line in config.read_text().splitlines(keepends=True) if '"_name_or_path"' not in line]
        json.loads("".join(lines))
        config.write_text("".join(lines))
    shutil.copy(out / "training.json", target / "training.json")
    files = sorted(p for p in target.rglob("*") if p.is_file() and p.parent != target)
    sums = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(target)}\n" for p in files)
    (target / "SHA256SUMS").write_text(sums)
    return {"files": len(files), "bytes": sum(p.stat().st_size for p in files)}


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out = Path(sys.argv[2])
    images, captions = scenes.read(sys.argv[1])
    stages = {
        "tokenizer": lambda: tokenizer(out),
        "vae": lambda: vae(out, images),
        "unet": lambda: unet(out, images, captions),
        "cut": lambda: cut(out, images, captions),
        "reward": lambda: reward(out, images, captions),
        "pack": lambda: pack(out),
    }
    out.mkdir(parents=True, exist_ok=True)
    record = out / "training.json"
    records = json.loads(record.read_text()) if record.exists() else {}
    for stage in sys.argv[3:] or stages:
        began = time.time()
        records[stage] = {**stages[stage](), "seconds": round(time.time() - began)}
        record.write_text(json.dumps(records, indent=2) + "\n")
        print(stage, records[stage], flush=True)


if __name__ == "__main__":
    main()
