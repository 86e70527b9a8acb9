"""Checks with diffusers, PEFT, transformers and TensorBoard that `smpo train` tunes, and that its files can be read.

    python tools/golden/check_training.py FOLDER PART[,PART...]|all COMMAND...

COMMAND runs smpo, such as tools/smpo. FOLDER keeps models, data and runs; base must come first, and the other parts use its
results. Parts: base, learning, forward, judge, control, files, board, scores, sdxl, objectives. Exit code 1 at the first
claim that fails.

Pinned: torch 2.11.0, diffusers 0.42.1, transformers 5.23.0, peft 0.21.2, tensorboard 2.20.0, Pillow. Nothing here is needed
to build or test; the output of one run is check_training.txt beside this file.

The model is a Stable Diffusion 1.x of 2 levels with random weights, on 8 x 8 latents of 64 x 64 images. Its VAE is
random, except for the last layer of the encoder, which is scaled so that latents have unit variance and almost no noise. The
images have a warm or a cold background with blots; in a pair, the winner is the warm one.
"""

import json
import math
import random
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
from schedule import SD15

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()

SIDE = 64
PAIRS, HELD_OUT = 192, 64
CAPTIONS = ["a red circle", "two dots", "a warm picture"]
# Tolerance for fp32 networks that differ in the order of summation only.
SAME_PREDICTION = 1e-5


def claim(holds, what):
    if not holds:
        sys.exit(f"  NOT SO: {what}")


def smpo(command, *arguments):
    """Runs smpo and returns its output and error streams."""
    run = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"smpo {' '.join(map(str, arguments))}: {run.returncode}\n{run.stdout}\n{run.stderr}")
    return run.stdout + run.stderr


# ---- data and models


def training_image(rng, warm):
    ground = (rng.randint(180, 255), 120, 60) if warm else (60, 120, rng.randint(180, 255))
    image = Image.new("RGB", (SIDE + 8, SIDE + 16), ground)
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, r = rng.randint(0, 60), rng.randint(0, 60), rng.randint(5, 20)
        draw.ellipse([x, y, x + r, y + r], fill=tuple(rng.randint(0, 255) for _ in range(3)))
    return image


def pairs(folder, count, seed, property_wins):
    """Writes a dataset folder. property_wins: the warm image wins; otherwise labels and scores are random. Scores smooth
    a label, and by default they determine the winner."""
    rng = random.Random(seed)
    (folder / "img").mkdir(parents=True)
    rows = []
    for i in range(count):
        first = rng.random() < 0.5
        for side, warm in enumerate((first, not first)):
            training_image(rng, warm).save(folder / f"img/{i}-{side}.png")
        label = (0 if first else 1) if property_wins else rng.randint(0, 1)
        scores = (0.24, 0.18) if label == 0 else (0.18, 0.24)
        rows.append(dict(
            id=f"p{i}", image_0=f"img/{i}-0.png", image_1=f"img/{i}-1.png", caption=rng.choice(CAPTIONS), label=label,
            score_0=scores[0], score_1=scores[1],
        ))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def tokenizer(folder):
    letters = [chr(c) for c in range(33, 127)]
    words = letters + [c + "</w>" for c in letters] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77), len(words)


def model(folder, data):
    torch.manual_seed(3)
    words, count = tokenizer(folder.parent / "tokenizer")
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=[32, 64], down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"], layers_per_block=1, attention_head_dim=4, norm_num_groups=8,
        cross_attention_dim=32,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=[8, 8, 16, 16], down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4, norm_num_groups=4, layers_per_block=1, scaling_factor=0.18215,
    )
    images = [Image.open(f).resize((SIDE, SIDE)) for f in sorted((data / "img").iterdir())[:32]]
    pixels = torch.stack([torch.from_numpy(np.asarray(i)).permute(2, 0, 1) / 127.5 - 1 for i in images])
    with torch.no_grad():
        quant = vae.quant_conv
        quant.weight.zero_(), quant.bias.zero_()
        quant.weight[:4, :4, 0, 0] = torch.eye(4)
        means = vae.encode(pixels).latent_dist.mean
        deviation, middle = means.std(dim=(0, 2, 3)), means.mean(dim=(0, 2, 3))
        quant.weight[:4] /= (0.18215 * deviation)[:, None, None, None]
        quant.bias[:4] = -middle / (0.18215 * deviation)
        quant.bias[4:] = -12
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=count, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        hidden_act="quick_gelu", projection_dim=32, bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=count - 1,
    ))
    diffusers.StableDiffusionPipeline(
        unet=unet, vae=vae, tokenizer=words, text_encoder=text, scheduler=diffusers.PNDMScheduler.from_config(SD15),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)


# ---- runs

INVERSION = dict(semantics="exact", steps=5, renoise="every_step")
OBJECTIVES = dict(
    smpo=dict(method="smpo", beta=200, gamma=10), dpo=dict(method="dpo", beta=200), inpo=dict(method="inpo", beta=200),
    sft=dict(method="sft"), npo=dict(method="npo", beta=200), kto=dict(method="kto", beta=200), mapo=dict(method="mapo"),
    dmpo=dict(method="dmpo", beta=200), ipo=dict(method="ipo", beta=200),
)
LORA = dict(type="lora", rank=8, alpha=8, targets="attention+ff")


def yaml(value):
    """Returns a value as YAML in flow style. Plain words stay unquoted, because a quoted `none` would be a string."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(yaml, value)) + "]"
    return value if isinstance(value, str) and re.fullmatch("[a-z][a-z0-9_+]*", value) else json.dumps(value)


def recipe(folder, name, objective, steps, rate, start="model", source="pairs", weights="full", **more):
    """Writes a recipe file."""
    inverts = objective in ("smpo", "inpo")
    sections = dict(
        base="smpo-sd15", model=str(folder / start), output=str(folder / "runs" / name),
        data=dict(paths=[str(folder / source)], resolution=SIDE, flip=False, held_out=HELD_OUT, caption_dropout=0.1),
        objective=OBJECTIVES[objective], inversion=dict(INVERSION, **more.pop("inversion", {})) if inverts else "none",
        labels=dict(range="data"), checkpoint=dict(every=1000),
        train=dict(steps=steps, pairs_per_step=16, micro_batch=16, precision="fp32", device="cpu", threads=1, weights=weights),
        learning_rate=dict(value=rate, schedule="constant_with_warmup", warmup_steps=1),
        optimizer=dict(name="adamw", weight_decay=0), evaluate=dict(every=steps),
    )
    for key, value in more.items():
        sections[key] = {**sections[key], **value} if isinstance(sections.get(key), dict) and "name" not in value else value
    shutil.rmtree(folder / "runs" / name, ignore_errors=True)
    (folder / "recipes").mkdir(exist_ok=True)
    path = folder / "recipes" / f"{name}.yaml"
    path.write_text("".join(f"{key}: {yaml(value)}\n" for key, value in sections.items()))
    return path


def train(command, folder, name, *arguments, **keywords):
    """Runs a recipe and returns its log and its output."""
    path = recipe(folder, name, *arguments, **keywords)
    printed = smpo(command, "train", path, "--cache", folder / "cache")
    log = [json.loads(line) for line in (folder / "runs" / name / "log.jsonl").read_text().splitlines()]
    claim(all(math.isfinite(e["loss"]) for e in log), f"{name}: finite losses")
    return log, printed


def events(log, kind):
    return [e for e in log if e["event"] == kind]


def margin_of(e, prefix=""):
    """Mean difference of the policy's errors on losers and winners, relative to the reference if there is one."""
    margin = e[prefix + "loser_error"] - e[prefix + "winner_error"]
    if prefix + "reference_winner_error" in e:
        margin -= e[prefix + "reference_loser_error"] - e[prefix + "reference_winner_error"]
    return margin


# ---- parts


def base(command, folder):
    """Trains a basic denoiser: supervised tuning by smpo on images of both kinds, from random weights."""
    for old in ("both", "pairs", "random", "model"):
        shutil.rmtree(folder / old, ignore_errors=True)
    pairs(folder / "both", PAIRS + HELD_OUT, 1, False)
    pairs(folder / "pairs", PAIRS + HELD_OUT, 2, True)
    model(folder / "random", folder / "both")
    log, _ = train(command, folder, "base", "sft", 600, 2e-3, start="random", source="both", evaluate=dict(every=100))
    shutil.copytree(folder / "runs/base/model", folder / "model")
    errors = [(e["step"], round(e["winner_error"], 4)) for e in events(log, "evaluation")]
    first = events(log, "step")[0]["winner_error"]
    print(f"  sft from random weights: error at first {first:.4f}, then on {HELD_OUT} held-out pairs {errors}")
    claim(errors[-1][1] < 0.6 * first, "the error falls well below that of random weights")


def learning(command, folder):
    print(f"  means over {HELD_OUT} held-out pairs; before: after one step with learning rate 0, which is the model itself")
    print("  margin: (loser - winner) error of the policy less that of the reference; on latents that the policy inverted, and")
    print("  forward: of those that invert, accuracy and margin of the same pairs with forward noise")
    for weights in ("full", "lora"):
        for objective in ("smpo", "dpo", "inpo", "sft"):
            rate = RATES[weights][objective]
            kind = LORA if weights == "lora" else "full"
            formats = dict(formats=["diffusers", "single_file"] + (["lora_peft", "lora_kohya"] if weights == "lora" else []))
            drawn = dict(prompts=CAPTIONS[:2], every=20, steps=4) if (objective, weights) == ("smpo", "full") else {}
            before, _ = train(command, folder, f"{objective}-{weights}-before", objective, 1, rate, weights=kind)
            after, _ = train(
                command, folder, f"{objective}-{weights}", objective, STEPS, rate, weights=kind, export=formats, samples=drawn
            )
            numbers, seconds = [], sum(e["time"]["seconds"] for e in events(after, "step"))
            for log in (before, after):
                e = events(log, "evaluation")[-1]
                one = dict(accuracy=e.get("implicit_accuracy"), loss=e["loss"], winner=e["winner_error"], loser=e["loser_error"])
                one["margin"] = margin_of(e)
                if "forward_accuracy" in e:
                    one |= dict(forward=e["forward_accuracy"], forward_margin=margin_of(e, "forward_"))
                numbers.append({name: number for name, number in one.items() if number is not None})
            before, now = numbers
            text = ", ".join(f"{name} {before[name]:.4f} -> {now[name]:.4f}" for name in now)
            print(f"  {objective:5} {weights:5} {STEPS} steps, rate {rate:g}, {seconds:.0f} s: {text}", flush=True)
            if objective == "sft":
                claim(now["winner"] < before["winner"], "the winners' error falls")
                claim("accuracy" not in now, "an objective that prefers nothing has no accuracy")
            else:
                claim(before["accuracy"] == 0 and before["margin"] == 0, "the untouched policy is the reference")
                claim(now["accuracy"] > 0.6 and now["margin"] > 0, "accuracy and margin rise")
                claim(now["loss"] < before["loss"], "the loss falls")


def forward(command, folder):
    """Measures how preferences learned on inverted latents transfer to forward noise: with smaller updates and larger adapters."""
    print("  on held-out pairs during training: (step, inverted: accuracy, margin; forward: accuracy, margin)")
    for weights, rate, steps in (("full", RATES["full"]["smpo"] / 3, STEPS), ("lora", RATES["lora"]["smpo"], 3 * STEPS)):
        log, _ = train(
            command, folder, f"forward-{weights}", "smpo", steps, rate, weights=LORA if weights == "lora" else "full",
            evaluate=dict(every=steps // 3),
        )
        for e in events(log, "evaluation"):
            print(f"  smpo {weights:5} rate {rate:.2g}, step {e['step']:3}: inverted {e['implicit_accuracy']:.4f}, "
                  f"{margin_of(e):.5f}; forward {e['forward_accuracy']:.4f}, {margin_of(e, 'forward_'):.5f}", flush=True)


def judge(command, folder):
    """Evaluates the same models on latents that neither network inverted: a step of Diffusion-DPO with learning rate 0.

    Only dpo was tuned for such latents. smpo and inpo are tuned on latents that the policy inverts, which need not transfer,
    so their numbers are printed but not checked."""
    print("  implicit accuracy and margin over the held-out pairs with forward noise, beside the model before tuning")
    for weights in ("full", "lora"):
        for objective in ("smpo", "dpo", "inpo", "sft"):
            log, _ = train(
                command, folder, f"judge-{objective}-{weights}", "dpo", 1, 1e-5, start=f"runs/{objective}-{weights}/model",
                train=dict(reference=str(folder / "model")),
            )
            e = events(log, "evaluation")[-1]
            print(f"  {objective:5} {weights:5} accuracy {e['implicit_accuracy']:.4f}, margin {margin_of(e):.4f}, winner "
                  f"{e['reference_winner_error']:.4f} -> {e['winner_error']:.4f}, loser {e['reference_loser_error']:.4f} -> "
                  f"{e['loser_error']:.4f}", flush=True)
            if objective == "dpo":
                claim(e["implicit_accuracy"] > 0.6, "more than chance")


def control(command, folder):
    """With random labels there is nothing to learn, and held-out pairs show it."""
    log, _ = train(command, folder, "control", "smpo", STEPS, RATES["lora"]["smpo"], source="both", weights=LORA)
    e, last = events(log, "evaluation")[-1], events(log, "step")[-1]
    print(f"  smpo lora {STEPS} steps, labels by a coin: accuracy {e['implicit_accuracy']:.4f}, with forward noise "
          f"{e['forward_accuracy']:.4f}, loss {e['loss']:.4f} over {e['pairs']} held-out pairs; loss of the last step "
          f"{last['loss']:.4f}")
    # Four standard deviations of the mean of random labels.
    for name in ("implicit_accuracy", "forward_accuracy"):
        claim(abs(e[name] - 0.5) <= 4 * 0.5 / math.sqrt(e["pairs"]), f"{name}: no better or worse than chance")


STEPS = 60
RATES = dict(
    full=dict(smpo=1e-4, dpo=3e-5, inpo=3e-5, sft=2e-4), lora=dict(smpo=5e-4, dpo=5e-4, inpo=5e-4, sft=2e-3),
)


def batch(path):
    generator = torch.Generator().manual_seed(5)
    normal = lambda *shape: torch.randn(*shape, generator=generator)
    save_file(dict(
        latents_w=normal(3, 4, 8, 8), latents_l=normal(3, 4, 8, 8), prompt_embeds=normal(3, 77, 32),
        timesteps=torch.tensor([20, 400, 900]), p=torch.tensor([0.6, 0.55, 0.7]),
    ), path)
    return load_file(path)


@torch.no_grad()
def worst(unet, given, traced):
    """Returns the largest relative L2 difference between a diffusers UNet and a trace's predictions for the same inputs."""
    most = 0.0
    for j, t in enumerate(given["timesteps"]):
        for side in "wl":
            x = traced[f"noised_{side}.{j}"][None]
            y, expected = unet(x, t, given["prompt_embeds"][j][None]).sample[0], traced[f"pred_{side}.{j}"]
            most = max(most, ((y - expected).norm() / expected.norm()).item())
    return most


def files(command, folder):
    given = batch(folder / "batch.safetensors")
    pipeline, network = diffusers.StableDiffusionPipeline, diffusers.UNet2DConditionModel
    original = network.from_pretrained(folder / "model/unet").eval()
    for name in ("smpo-full", "smpo-lora"):
        run = folder / "runs" / name
        smpo(command, "trace", run / "model", "--batch", folder / "batch.safetensors", "--out", folder / "trace.safetensors",
             "--objective", "dpo", "--threads", 1)
        traced = load_file(folder / "trace.safetensors")
        tuned = worst(original, given, traced)
        print(f"  {name}: the model before tuning predicts otherwise by {tuned:.1e}")
        claim(tuned > 10 * SAME_PREDICTION, "the comparison tells the tuned model from the one before")

        def same(what, unet):
            difference = worst(unet.eval(), given, traced)
            print(f"  {name}: {what}: relative L2 {difference:.1e}", flush=True)
            claim(difference <= SAME_PREDICTION, f"{what}: at most {SAME_PREDICTION:g}")

        same("UNet2DConditionModel.from_pretrained", network.from_pretrained(run / "model/unet"))
        whole = pipeline.from_pretrained(run / "model")
        same("StableDiffusionPipeline.from_pretrained", whole.unet)
        whole.set_progress_bar_config(disable=True)
        seed = torch.Generator().manual_seed(1)
        image = whole(CAPTIONS[0], num_inference_steps=3, height=SIDE, width=SIDE, generator=seed, output_type="np").images
        print(f"  {name}: the pipeline generates {image.shape}, finite: {bool(np.isfinite(image).all())}")
        claim(np.isfinite(image).all(), "a finite image")
        try:
            one = pipeline.from_single_file(run / "model.safetensors", config=str(folder / "model"))
        except Exception as e:  # Prints any failure, because the checkpoint does not have a published size.
            print(f"  {name}: from_single_file: {type(e).__name__}: {str(e).splitlines()[0][:200]}")
        else:
            same("from_single_file", one.unet)
        if name.endswith("lora"):
            for file in ("pytorch_lora_weights.safetensors", "lora_kohya.safetensors"):
                adapted = pipeline.from_pretrained(folder / "model")
                adapted.load_lora_weights(run, weight_name=file)
                same(f"{file} by load_lora_weights", adapted.unet)


def board(command, folder):
    import io

    import tensorboard
    from tensorboard.backend.event_processing import event_accumulator

    run = folder / "runs/smpo-full"
    everything = {kind: 0 for kind in (event_accumulator.SCALARS, event_accumulator.IMAGES, event_accumulator.TENSORS)}
    read = event_accumulator.EventAccumulator(str(run), size_guidance=everything)
    read.Reload()
    tags = read.Tags()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = events(log, "step")
    print(f"  tensorboard {tensorboard.__version__}: scalars {', '.join(sorted(tags['scalars']))}")
    for name in ("loss", "implicit_accuracy", "winner_error", "learning_rate", "gradient_norm"):
        values = {e.step: e.value for e in read.Scalars("train/" + name)}
        claim(sorted(values) == [s["step"] for s in steps], f"{name}: one value per step")
        claim(all(values[s["step"]] == np.float32(s[name]) for s in steps), f"{name}: the log's numbers")
    print(f"  5 scalars of {len(steps)} steps equal the log's, rounded to float32")
    for name in ("loss", "implicit_accuracy"):
        values = {e.step: e.value for e in read.Scalars("held_out/" + name)}
        claim(values == {e["step"]: np.float32(e[name]) for e in events(log, "evaluation")}, f"held_out/{name}")
    for tag in tags["images"]:
        for image in read.Images(tag):
            pixels = Image.open(io.BytesIO(image.encoded_image_string))
            claim(pixels.size == (SIDE, SIDE), "an image of the recipe's size")
            print(f"  image {tag!r} at step {image.step}: {pixels.size[0]} x {pixels.size[1]} {pixels.format}")
    claim(len(tags["images"]) == 2, "one image per prompt")
    stored = sorted(str(p.relative_to(run)) for p in (run / "samples").rglob("*.png"))
    print(f"  files {stored}")


def scores(command, folder):
    """Scores and trains as published on two pairs, one per step, so that a step's loss and errors determine its label."""
    torch.manual_seed(11)
    clip = folder / "clip"
    words, count = tokenizer(folder / "tokenizer")
    network = transformers.CLIPModel(transformers.CLIPConfig(
        projection_dim=16,
        text_config=dict(vocab_size=count, hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=2,
                         projection_dim=16, bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=count - 1),
        vision_config=dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=2, image_size=32,
                           patch_size=8, projection_dim=16),
    )).eval()
    network.save_pretrained(clip)
    words.save_pretrained(clip)
    from clip_score import PROCESSORS

    settings = dict(PROCESSORS["edge"], crop_size=dict(height=32, width=32), size=dict(shortest_edge=32))
    (clip / "preprocessor_config.json").write_text(json.dumps(settings))
    data = folder / "two"
    shutil.rmtree(data, ignore_errors=True)
    pairs(data, 2, 7, True)
    rows = [json.loads(line) for line in (data / "pairs.jsonl").read_text().splitlines()]

    # transformers' scores, and the labels that follow from them.
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(**{k: v for k, v in settings.items() if not k.endswith("_type")})
    theirs = []
    with torch.no_grad():
        for row in rows:
            images = [Image.open(data / row[f"image_{side}"]) for side in (0, 1)]
            pixels = torch.from_numpy(np.stack([processor(i, return_tensors="np")["pixel_values"][0] for i in images]))
            text = words([row["caption"]], padding="max_length", max_length=77, truncation=True, return_tensors="pt")
            image = network.get_image_features(pixel_values=pixels).pooler_output
            caption = network.get_text_features(**text).pooler_output
            theirs.append(torch.nn.functional.cosine_similarity(image, caption).tolist())
    # One pair whose label agrees with the reward, and one whose label does not.
    for i, row in enumerate(rows):
        better = 0 if theirs[i][0] > theirs[i][1] else 1
        row["label"] = better if i == 0 else 1 - better
        del row["score_0"], row["score_1"]
    (data / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "scores.parquet").unlink(missing_ok=True)
    printed = smpo(command, "score", clip, data, "--out", folder / "scores.parquet", "--threads", 1)
    print("  smpo score:", " | ".join(line.strip() for line in printed.splitlines() if ":" in line and "left" not in line))
    low, high = min(map(min, theirs)), max(map(max, theirs))
    print(f"  transformers' scores: {[[round(s, 6) for s in pair] for pair in theirs]}")
    for limits in ("data", "published"):
        least, most = (low, high) if limits == "data" else (0.11543526500463486, 0.28201571106910706)
        # The smoothed label: p = sigmoid(r'_w - r'_l) with r' = (s - min) / (max - min), w the higher score.
        expected = sorted(1 / (1 + math.exp(-abs(a - b) / (most - least))) for a, b in theirs)
        log, printed = train(
            command, folder, f"scores-{limits}", "smpo", 9, 5e-5, source="two",
            labels=dict(winner="reward", scores=str(folder / "scores.parquet"), range=limits),
            evaluate=dict(every="none"), data=dict(held_out=0),
            train=dict(steps=9, pairs_per_step=1, micro_batch=1, device="cpu", precision="fp32", threads=1, weights="full"),
        )
        told = next(line for line in printed.splitlines() if "another winner" in line)
        print(f"  range {limits}: {told.split(': ')[-1]}")
        claim("1 with another winner" in told, "one flip")
        found = []
        for step in events(log, "step"):
            # SmPO's loss: -log sigmoid(gamma (2 p - 1) (-beta / 2) difference)
            logit = -math.log(math.expm1(step["loss"]))
            difference = step["winner_error"] - step["loser_error"]
            difference -= step["reference_winner_error"] - step["reference_loser_error"]
            if abs(difference) > 1e-4:
                found.append((logit / (-0.5 * 200 * 10 * difference) + 1) / 2)
        print(f"  range {limits}: p by hand {[round(p, 6) for p in expected]}, p of {len(found)} steps "
              f"{[round(p, 5) for p in found]}")
        # A difference above 1e-4 of float32 errors of about 0.1 has four digits or more.
        claim(found and all(min(abs(p - e) for e in expected) < 1e-3 for p in found), "every step's p is one of these")
        claim(all(any(abs(p - e) < 1e-3 for p in found) for e in expected), "both pairs are seen")


def sdxl(command, folder):
    from step import tiny_pipeline

    torch.manual_seed(0)
    if not (folder / "xl").exists():
        tiny_pipeline("sdxl", folder / "xl-words").save_pretrained(folder / "xl")
    logs = {}
    for checkpointing in (False, True):
        name = f"sdxl-{'recompute' if checkpointing else 'keep'}"
        log, _ = train(
            command, folder, name, "smpo", 3, 1e-4, start="xl", optimizer=dict(name="adafactor"),
            train=dict(steps=3, pairs_per_step=2, micro_batch=2, precision="bf16", device="cpu", threads=1, weights="full",
                       ema=0.9, gradient_checkpointing=checkpointing),
            data=dict(held_out=4), inversion=dict(renoise="last_step"), evaluate=dict(every=3),
        )
        logs[checkpointing] = [e["loss"] for e in log]
        peak = max(e["time"]["host_bytes_peak"] for e in events(log, "step")) / 2**20
        norms = [round(e["gradient_norm"], 4) for e in events(log, "step")]
        print(f"  checkpointing {checkpointing}: losses {logs[checkpointing]}, gradient norms {norms}, at most {peak:.1f} MiB",
              flush=True)
    claim(logs[False] == logs[True], "the same losses")
    for kind in ("model", "model-ema"):
        pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(folder / "runs/sdxl-keep" / kind)
        before = diffusers.UNet2DConditionModel.from_pretrained(folder / "xl/unet").state_dict()
        changed = math.sqrt(sum((v - before[k]).square().sum().item() for k, v in pipe.unet.state_dict().items()))
        print(f"  StableDiffusionXLPipeline.from_pretrained({kind!r}): weights moved by {changed:.3e} (L2)")
        claim(changed > 0, "weights move")


def objectives(command, folder):
    for objective in ("npo", "kto", "mapo", "dmpo", "ipo"):
        log, _ = train(command, folder, f"three-{objective}", objective, 3, 1e-4)
        steps = events(log, "step")
        print(f"  {objective}: losses {[round(e['loss'], 6) for e in steps]}, gradient norms "
              f"{[round(e['gradient_norm'], 4) for e in steps]}", flush=True)
        claim(all(math.isfinite(e["gradient_norm"]) for e in steps), "finite gradients")


PARTS = dict(base=base, learning=learning, forward=forward, judge=judge, control=control, files=files, board=board, scores=scores,
             sdxl=sdxl, objectives=objectives)


def main(folder, parts, *command):
    import peft

    torch.set_num_threads(1)
    print("diffusers", diffusers.__version__, "transformers", transformers.__version__, "peft", peft.__version__, "torch",
          torch.__version__)
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS if parts == "all" else parts.split(","):
        print(part, flush=True)
        PARTS[part](list(command), folder)
    print("all of it holds")


if __name__ == "__main__":
    main(*sys.argv[1:])
