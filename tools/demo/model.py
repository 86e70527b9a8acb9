"""Trains the demo's small model and its reward from rendered scenes.

    tools/smpo demo draw --scenes 40000 --seed 1 --out SCENES
    python tools/demo/model.py SCENES OUT [STAGE ...]

Pinned: torch 2.11.0, diffusers 0.42.1, transformers 5.23.0. Stages, all of them in this order unless some are named:
tokenizer, vae, unet, cut, reward, pack. OUT/model is a Stable Diffusion pipeline as diffusers writes it, OUT/reward a CLIP model as
transformers writes it, both in float16; OUT/training.json records how long each stage took, and its last losses; pack brings
all of it to where the demo's Java classes find it. With two
cores all of it takes well under two hours. Sums differ between kinds of CPU, so another machine makes another model of the
same quality, not the same bytes.

No held-out caption is among the scenes (org.smpo.demo.Scene#heldOut): neither network has seen one.
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
PEAK = 1.2e-3  # the denoiser's rate of learning
TOKENS = 16  # the longest caption has eight words, and two marks
TEXT_WIDTH = 96
REWARD_WIDTH = 80
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]  # CLIP's
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
COLOURS = "red yellow green cyan blue purple".split()
SHAPES = "circle square triangle ring".split()
RELATIONS = "left of", "right of", "above", "below"


def merges_of(words):
    """Byte pair merges until each of the words is one token: the most frequent pair first, then the first by name."""
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
    """The letters that stand for bytes in CLIP's vocabulary."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(256 - len(kept))]


def tokenizer(out):
    """CLIP's tokenizer with a vocabulary of its own: every byte, every word of the captions as one token."""
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
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))


class Average:
    """The exponential moving average of weights, which is what is kept."""

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
    """Minimises loss_of(step), saying every hundredth step how it goes; leaves the averaged weights."""
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


def vae(out, pictures, steps=2000, batch=16):
    """An autoencoder with SD's factor of 8: squared and absolute error, and as much of a KL term as SD's."""
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
        rows = torch.randint(len(pictures), (batch,), generator=generator).numpy()
        x = torch.from_numpy(scenes.unit(pictures[rows]))
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample(generator)).sample
        return F.mse_loss(y, x) + 0.1 * F.l1_loss(y, x) + 1e-6 * posterior.kl().mean()

    result = train("vae", steps, 2e-3, [model], loss_of, decay=0.995, weight_decay=0)
    with torch.no_grad():
        x = torch.from_numpy(scenes.unit(pictures[:256]))
        latents = model.encode(x).latent_dist.sample(generator)
        result["mse"] = F.mse_loss(model.decode(latents).sample, x).item()
        model.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    model.save_pretrained(out / "parts/vae")
    return result


@torch.no_grad()
def moments(model, pictures):
    parts = [model.encode(torch.from_numpy(scenes.unit(pictures[i : i + 250]))).latent_dist for i in range(0, len(pictures), 250)]
    scale = model.config.scaling_factor
    return torch.cat([p.mean for p in parts]) * scale, torch.cat([p.std for p in parts]) * scale


@torch.no_grad()
def through(model, pictures, generator):
    """Images after a pass through the autoencoder, which resemble generated ones."""
    seen = []
    for i in range(0, len(pictures), 250):
        latents = model.encode(torch.from_numpy(scenes.unit(pictures[i : i + 250]))).latent_dist.sample(generator)
        seen.append(((model.decode(latents).sample / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8))
    return torch.cat(seen)


def denoising(out, model, text, pictures, captions, generator, batch=64):
    """The loss of a denoiser and its text encoder; one caption in ten is left out, for guidance."""
    ids = ids_of(out, captions)
    empty = ids_of(out, [""])[0]
    mean, std = moments(AutoencoderKL.from_pretrained(out / "parts/vae"), pictures)
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


def unet(out, pictures, captions, steps=2600):
    """The denoiser and its text encoder, together."""
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
    loss_of = denoising(out, model, text, pictures, captions, generator)
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


def cut(out, pictures, captions, steps=200, batch=64):
    """Makes the model deliberately undertrained, to leave room for improvement: continues at the full rate in small batches, and keeps the
    last weights instead of their average. It draws what is asked for in a third of cases, and often nearly that."""
    seen = steps * batch
    pipeline = StableDiffusionPipeline.from_pretrained(out / "parts/settled", safety_checker=None).to(dtype=torch.float32)
    model, text = pipeline.unet.train(), pipeline.text_encoder.train()
    generator = torch.Generator().manual_seed(SEED + 3)
    loss_of = denoising(out, model, text, pictures[:seen], captions[:seen], generator, batch)
    result = train("cut", steps, PEAK, [model, text], loss_of, decay=0, rate=lambda *_: PEAK)
    pipeline.to(dtype=torch.float16).save_pretrained(out / "model")
    return result


def plural(words):
    return [word + "s" for word in words]


def altered(caption, random):
    """A caption that differs in one attribute: a colour, a shape, the number, the size or the relation; or, of two
    objects, in which has which colour or shape."""
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


def reward(out, pictures, captions, steps=1200, batch=128, hard=3, coded=8000):
    """A small CLIP: the caption of each image against those of the batch, and against some that are nearly right.

    Half of the images have passed through the autoencoder, like generated ones."""
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
                    p.mul_(0.02 / p.std())  # CLIP's own start is for wide towers
    generator = torch.Generator().manual_seed(SEED + 2)
    random = np.random.default_rng(SEED + 2)
    mark, deviation = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    seen = through(AutoencoderKL.from_pretrained(out / "parts/vae"), pictures[:coded], generator)
    drawn = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    table = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
    cache = {}

    def tokens(texts):
        new = [text for text in dict.fromkeys(texts) if text not in cache]
        if new:
            cache.update(zip(new, ids_of(out, new)))
        return torch.stack([cache[text] for text in texts])

    def embed(pictures, texts):
        images = model.visual_projection(model.vision_model((pictures.float() / 255 - mark) / deviation).pooler_output)
        words = model.text_projection(model.text_model(tokens(texts)).pooler_output)
        return F.normalize(images, dim=-1), F.normalize(words, dim=-1)

    def loss_of(_):
        half = torch.randint(len(drawn), (batch // 2,), generator=generator)
        other = torch.randint(coded, (batch - batch // 2,), generator=generator)
        texts = [captions[row] for row in torch.cat([half, other])]
        wrong = [altered(text, random) for text in texts for _ in range(hard)]
        images, words = embed(torch.cat([drawn[half], seen[other]]), texts + wrong)
        scale = model.logit_scale.exp().clamp(max=100)
        right, near = words[:batch], words[batch:].view(batch, hard, -1)
        logits = scale * images @ right.T
        same = torch.tensor([table[text] for text in texts])
        equal = same[:, None] == same[None, :]
        equal.fill_diagonal_(False)
        logits = logits.masked_fill(equal, -1e4)
        close = scale * torch.einsum("bd,bkd->bk", images, near)
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
    """Copies what was made beside org.smpo.demo's classes, with its digests."""
    target = Path(__file__).resolve().parents[2] / "java/src/main/resources/org/smpo/demo"
    for name in "model", "reward":
        shutil.rmtree(target / name, ignore_errors=True)
        shutil.copytree(out / name, target / name)
    for config in target.glob("model/**/*.json"):
        # diffusers notes where a model was loaded from.
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
    pictures, captions = scenes.read(sys.argv[1])
    stages = {
        "tokenizer": lambda: tokenizer(out),
        "vae": lambda: vae(out, pictures),
        "unet": lambda: unet(out, pictures, captions),
        "cut": lambda: cut(out, pictures, captions),
        "reward": lambda: reward(out, pictures, captions),
        "pack": lambda: pack(out),
    }
    out.mkdir(parents=True, exist_ok=True)
    record = out / "training.json"
    said = json.loads(record.read_text()) if record.exists() else {}
    for stage in sys.argv[3:] or stages:
        began = time.time()
        said[stage] = {**stages[stage](), "seconds": round(time.time() - began)}
        record.write_text(json.dumps(said, indent=2) + "\n")
        print(stage, said[stage], flush=True)


if __name__ == "__main__":
    main()
