#!/usr/bin/env python3
"""Measures the gain of each method on the demo's model: the driver behind `tools/bench methods`.

    methods.py ROW [--seeds 0-4] [--work DIR] [--results FILE] [--set NAME=VALUE]... [--list]

A row is one method with its claim and a control that must fail; --list names the rows. Every run uses the smpo command, and
the commands are printed, so that runs can be repeated by hand. Settings were chosen on seed 100 and used unchanged on seeds 0
to 4. A gain is shown when the 95 % interval excludes zero, on the claimed side, for at least four of five seeds; a control
fails as required when it shows no such gain. Intervals come from resampling captions (`smpo evaluate`).

An interrupted row resumes: finished runs and evaluations in the working folder are kept.
Results: a Markdown table on stdout and, with --results, one JSON line per seed and comparison.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOISY_JUDGE = Path(__file__).resolve().parent / "noisy_judge.py"
PAIRS = 2500
SAMPLING = ["--sampler", "dpmpp_2m", "--steps", "10", "--batch", "32"]
# The model's own images for pairs share no noise with those of the evaluation.
OWN_SEED = 1_000_000
NEEDED = 4
# Noise beside which the scores mean nothing.
BLIND = 1e6

SETTINGS = {
    "npo": dict(steps=50, rate="3e-5", beta=2000, dropout=0.2, guidance=2),
    "npo-condition": dict(steps=50, rate="3e-5", beta=2000, dropout=0.2, guidance=2),
    "capo": dict(steps=50, rate="3e-5", beta=100, bias=1.5, images=8),
    "capo-two": dict(steps=50, rate="3e-5", beta=100, bias=1.5, images=8),
    "ipr": dict(steps=30, rate="3e-5", beta=2000, images=8, noise=0.15),
    "dora": dict(steps=50, rate="3e-5", beta=2000, images=8, share=0.3, strength=1.0),
    "selfnpo": dict(steps=200, rate="3e-5", images=32, ema=0.99, guidance=2),
    "kto": dict(steps=100, rate="3e-5", images=64, beta=2000),
    "tailorpo": dict(steps=100, rate="3e-5", beta=10, candidates=2, compared=5, prompts=16, temperature=0.01),
    "tailorpo-g": dict(steps=100, rate="3e-5", beta=10, candidates=2, compared=5, prompts=16, temperature=0.01, strength=0.1),
    "spo": dict(steps=100, rate="3e-5", beta=10, clip=0.1, candidates=4, prompts=16, temperature=0.01, preference=0.3),
    "apo": dict(rounds=3, steps=30, rate="3e-5", beta=2000, images=8, prompts=144, weight=0.1, l2=1e-3, mix=0.5),
    "bcr": dict(steps=30, rate="1e-4", beta=2000, budget=0.1, strength=1.0),
}


class Seed:
    """The folder of one seed: the demo's model, reward, prompts and pairs, and a row's runs."""

    def __init__(self, work, seed, settings):
        self.seed, self.settings = seed, settings
        self.folder = work / f"seed-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model, self.reward = self.folder / "model", self.folder / "reward"
        if not (self.folder / "own-prompts.tsv").exists():
            smpo("demo", "unpack", "--out", self.folder)

    def drawn_pairs(self, name="data", count=PAIRS):
        pairs = self.folder / name / "pairs.parquet"
        if not pairs.exists():
            smpo("demo", "draw", "--pairs", count, "--seed", self.seed, "--out", pairs.parent)
        return pairs.parent

    def recipe(self, run, objective, labels=None, dropout=0.0):
        """Returns a recipe without data paths."""
        steps = int(self.settings["steps"])
        return {
            "model": str(self.model),
            "output": str(run),
            "seed": self.seed,
            "data": {
                "resolution": 64,
                "flip": False,
                "caption_dropout": dropout,
                "held_out": 0.02,
            },
            "labels": labels or {"winner": "human"},
            "timesteps": {"distribution": "uniform", "low": 0, "end": 1000},
            "train": {
                "steps": steps,
                "pairs_per_step": 64,
                "precision": "fp32",
                "device": "cpu",
                "weights": "full",
                "max_grad_norm": 1,
            },
            "optimizer": {"name": "adamw", "weight_decay": 0.01},
            "learning_rate": {
                "value": float(self.settings["rate"]),
                "schedule": "cosine",
                "warmup_steps": min(10, steps),
            },
            "checkpoint": {"every": 50, "keep": 1},
            "evaluate": {"every": 50},
            "export": {"formats": ["diffusers"]},
            "objective": objective,
            "inversion": "none",
        }

    def write(self, name, recipe):
        file = self.folder / f"{name}.yaml"
        file.write_text(re.sub('"(none|full|data)"', r"\1", json.dumps(recipe, indent=2)))  # these words are not strings
        return file

    def train(self, name, objective, *data, health=None, sections=None, **options):
        """Trains the base on pairs; returns the run's folder. `sections` has keys that are added to the recipe's sections."""
        run = self.folder / name
        if (run / "model").exists():
            return run
        recipe = self.recipe(run, objective, **options) | ({"health": health} if health else {})
        recipe["data"]["paths"] = [str(path) for path in data]
        for section, keys in (sections or {}).items():
            recipe[section] |= keys
        resume = ["--resume"] if (run / "recipe.yaml").exists() else []
        smpo("train", self.write(name, recipe), "--cache", self.folder / "cache", *resume)
        return run

    def roll(self, name, objective, reward, **trajectory):
        """Trains the base on steps of its own trajectories from the tuning captions; returns the run's folder."""
        run, s = self.folder / name, self.settings
        if (run / "model").exists():
            return run
        recipe = self.recipe(run, objective)
        del recipe["labels"], recipe["timesteps"]
        recipe["data"] = {"resolution": 64}
        recipe["evaluate"] = {"every": "none"}
        recipe["train"]["pairs_per_step"] = 10
        recipe["trajectory"] = {
            "prompts": str(self.folder / "own-prompts.tsv"),
            "prompts_per_rollout": int(s["prompts"]),
            "steps": 20,
            "guidance_scale": 1,
            "candidates": int(s["candidates"]),
            "reward": f"clip:{reward}",
            "temperature": s["temperature"],
        } | trajectory
        resume = ["--resume"] if (run / "recipe.yaml").exists() else []
        smpo("train", self.write(name, recipe), "--cache", self.folder / "cache", *resume)
        return run

    def blind_reward(self):
        """Copies the reward with its image projection in random order, so that its scores say nothing about images."""
        blind = self.folder / "blind"
        if not (blind / "done").exists():
            shutil.copytree(self.reward, blind, dirs_exist_ok=True)
            shuffle_tensor(blind / "model.safetensors", "visual_projection.weight", self.seed)
            (blind / "done").touch()
        return blind

    def iterate(self, name, objective, rounds):
        """Runs rounds; returns their folder."""
        out = self.folder / name
        if (out / f"round-{rounds['count']:02}" / "round.json").exists():
            return out
        recipe = self.recipe(out, objective) | {"rounds": rounds}
        # Few pairs of few captions: none of a round's are held out.
        recipe["data"]["held_out"] = 0
        recipe["evaluate"] = {"every": "none"}
        resume = ["--resume"] if (out / "rounds.yaml").exists() else []
        smpo("iterate", self.write(name, recipe), "--cache", self.folder / "cache", *resume)
        return out

    def evaluate(self, name, models, guidance, *options, prompts="prompts.tsv", images=8, first=None):
        """Compares models with the first one; returns the folder of the report."""
        out = self.folder / name
        if not (out / "report.json").exists():
            words = [f"{key}={value}" for key, value in models.items()]
            first = self.seed if first is None else first
            smpo("evaluate", *words, "--prompts", self.folder / prompts, "--images", images, "--seed", first, *SAMPLING,
                 "--guidance-scale", guidance, "--checker", "--reward", f"reward={self.reward}", "--out", out, *options)
        return out

    def own_images(self, name="own", *options):
        """Generates the base model's images of the tuning captions, scored by the reward and by the checker."""
        images = int(self.settings["images"])
        return self.evaluate(
            f"{name}-{images}", {"base": self.model}, 1, *options, prompts="own-prompts.tsv", images=images,
            first=OWN_SEED + self.seed
        )

    def own_pairs(self, name, *options, images=None):
        out = self.folder / name
        if not (out / "pairs.jsonl").exists():
            smpo("data", "pairs", images or self.own_images(), "--out", out, "--seed", self.seed, *options)
        return out

    def realness(self):
        """Fits a head on the reward's image embeddings that tells drawn images from the model's own; returns its folder."""
        head = self.folder / "realness"
        if not (head / "reward.json").exists():
            own = self.own_pairs("own-all", "--by", "reward", "--per-prompt", int(self.settings["images"]) // 2)
            smpo("reward", "fit", self.reward, "--target", self.drawn_pairs(), "--source", own, "--features", "image",
                 "--out", head)
        return head


class Finding:
    """A difference with its interval and what is claimed of it: a gain or a loss of a method, a control that must not gain,
    or no loss ("not below")."""

    def __init__(self, what, estimate, low, high, claim):
        self.what, self.estimate, self.low, self.high, self.claim = what, estimate, low, high, claim

    def shown(self):
        match self.claim:
            case "gain" | "control":
                return self.low > 0
            case "loss":
                return self.high < 0
            case "not below":
                return self.high >= 0
        raise ValueError(self.claim)

    def text(self):
        if self.low == self.high:
            return f"{self.estimate:+.1f}"
        return f"{self.estimate:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def difference(report, model, what, claim, measure="checker", scale=100):
    """Returns the mean difference between a model and the report's first one, in percentage points for the checker."""
    for one in json.loads((report / "report.json").read_text())["comparisons"]:
        if one["measure"] == measure and one["model"] == model and one["category"] in (None, ""):
            found = one["mean_difference"]
            return Finding(what, scale * found["estimate"], scale * found["low"], scale * found["high"], claim)
    raise SystemExit(f"{report}: no comparison of {model} by {measure}")


def shuffle_tensor(file, name, seed):
    """Puts the values of a tensor of a safetensors file into random order."""
    data = bytearray(file.read_bytes())
    header = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + header])[name]
    width = {"F32": 4, "F16": 2, "BF16": 2}[entry["dtype"]]
    first, last = (8 + header + at for at in entry["data_offsets"])
    values = [bytes(data[at : at + width]) for at in range(first, last, width)]
    random.Random(seed).shuffle(values)
    data[first:last] = b"".join(values)
    file.unlink()
    file.write_bytes(data)


def npo_runs(seed):
    """Trains the negative network and, as a control, a network trained towards the winners."""
    s, data = seed.settings, seed.drawn_pairs()
    dpo = {"method": "dpo", "beta": s["beta"], "kappa": 0.5, "safeguard": {"mu": 0}}
    negative = seed.train("npo", dpo, data, labels={"winner": "human", "reversed": True}, dropout=s["dropout"])
    return negative, seed.train("npo-control", dpo, data, dropout=s["dropout"])


def npo(seed):
    """Diffusion-NPO: guidance with a negative network that was trained on reversed labels."""
    negative, positive = npo_runs(seed)
    alone = seed.evaluate("npo-alone", {"base": seed.model, "npo": f"{negative}/model"}, 1)
    guided = seed.evaluate(
        "npo-guided",
        {"base": seed.model, "npo": f"{seed.model}~{negative}", "control": f"{seed.model}~{positive}"},
        seed.settings["guidance"],
    )
    return [
        difference(alone, "npo", "negative network by itself − base", "loss"),
        difference(guided, "npo", "base with the negative network − base", "gain"),
        difference(guided, "control", "control: base with a positive network as the negative one − base", "control"),
    ]


def npo_condition(seed):
    """The same networks, the negative one with the image's own prompt instead of the empty one."""
    negative, positive = npo_runs(seed)
    # Equal images, so that one of each caption is enough.
    plain = seed.evaluate("npo-condition-base", {"base": seed.model, "same": f"{seed.model}~{seed.model}"}, 1.0001,
                          "--negative-condition", "prompt", images=1)
    itself, away, control = (f"{seed.model}~{other}" for other in (seed.model, negative, positive))
    models = {"base": itself, "npo": away, "control": control}
    guided = seed.evaluate("npo-condition", models, seed.settings["guidance"], "--negative-condition", "prompt")
    return [
        difference(guided, "npo", "base with the negative network − base without guidance", "gain"),
        difference(guided, "control", "control: a positive network as the negative one", "control"),
        difference(plain, "same", "control: the base as its own negative network", "control"),
    ]


def changed(source, target, change):
    """Copies pairs with other labels and scores, and without probabilities."""
    if (target / "pairs.jsonl").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    for name in os.listdir(source):
        if name not in ("pairs.jsonl", "pairs.json") and not (target / name).exists():
            os.symlink(source / name, target / name)
    lines = [json.loads(line) for line in (source / "pairs.jsonl").read_text().splitlines()]
    change(lines)
    for line in lines:
        line.pop("probability_0", None)
    (target / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return target


def shuffled(source, target, seed):
    """Copies pairs with the scores of other pairs, so that the margins carry no information."""

    def change(lines):
        scores = [(line["score_0"], line["score_1"]) for line in lines]
        random.Random(seed).shuffle(scores)
        for line, (first, second) in zip(lines, scores):
            line["score_0"], line["score_1"] = first, second
            line["label"] = 0 if first > second else 1

    return changed(source, target, change)


def tossed(source, target, seed):
    """Copies pairs with labels from a coin."""

    def change(lines):
        coin = random.Random(seed)
        for line in lines:
            line["label"] = coin.randrange(2)
            line.pop("score_0", None)
            line.pop("score_1", None)

    return changed(source, target, change)


def capo_runs(seed, name, pairs):
    """Trains on the pairs' margins and, as a control, on the margins of other pairs."""
    s = seed.settings
    objective = {"method": "capo", "beta": s["beta"], "bias": s["bias"]}
    labels = {"winner": "reward", "range": "data"}
    tuned = seed.train(name, objective, pairs, labels=labels)
    other = shuffled(pairs, seed.folder / f"{name}-shuffled", seed.seed)
    return tuned, seed.train(f"{name}-control", objective, other, labels=labels)


def capo(seed):
    """CaPO: margins of calibrated rewards on the model's own images."""
    pairs = seed.own_pairs("capo-pairs", "--by", "reward:auto", "--select", "frontier", "--combine", "calibrated")
    tuned, control = capo_runs(seed, "capo", pairs)
    report = seed.evaluate("capo-report", {"base": seed.model, "capo": tuned, "control": control}, 1)
    return [
        difference(report, "capo", "CaPO − base, checker", "gain"),
        difference(report, "capo", "CaPO − base, reward", "gain", measure="reward"),
        difference(report, "control", "control: shuffled margins − base", "control"),
    ]


def capo_two(seed):
    """CaPO with the Pareto fronts of two rewards, the demo's and a head that tells drawn from generated images."""
    head = f"realness={seed.realness()}"
    pairs = seed.own_pairs("capo-two-pairs", "--by", "reward:auto", "--by", "realness:auto", "--select", "frontier",
                           "--combine", "calibrated", images=seed.own_images("own-two", "--reward", head))
    tuned, control = capo_runs(seed, "capo-two", pairs)
    models = {"base": seed.model, "capo": tuned, "control": control}
    report = seed.evaluate("capo-two-report", models, 1, "--reward", head)
    return [
        difference(report, "capo", "CaPO − base, checker", "gain"),
        difference(report, "capo", "CaPO − base, reward", "gain", measure="reward"),
        difference(report, "capo", "CaPO − base, realness", "gain", measure="realness", scale=1),
        difference(report, "control", "control: shuffled margins − base, checker", "control"),
    ]


def ipr(seed):
    """IPR: tournaments by the majority of three noisy judges, by one of them, and by one that guesses."""
    s = seed.settings
    objective = {"method": "dpo", "beta": s["beta"], "kappa": 0.5, "safeguard": {"mu": 0}}
    made = {}
    for name, votes, noise in (("ipr", 3, s["noise"]), ("ipr-single", 1, s["noise"]), ("ipr-control", 1, BLIND)):
        judge = f"command:{sys.executable} {NOISY_JUDGE} --scores {seed.own_images()} --noise {noise} --votes {votes}"
        pairs = seed.own_pairs(f"{name}-pairs", "--by", "reward", "--select", "tournament", "--judge", judge)
        made[name] = seed.train(name, objective, pairs)
    report = seed.evaluate("ipr-report", {"base": seed.model, **made}, 1)
    return [
        difference(report, "ipr", "IPR, majority of three noisy judges − base", "gain"),
        difference(report, "ipr-single", "one noisy judge − base", "gain"),
        difference(report, "ipr-control", "control: a judge that guesses − base", "control"),
    ]


def exchanged(weights, target, seed):
    """Copies a weight file with the weights of other pairs."""
    if not target.exists():
        import pyarrow.parquet  # the other rows do without

        table = pyarrow.parquet.read_table(weights)
        order = list(range(table.num_rows))
        random.Random(seed).shuffle(order)
        for name in ("weight_0", "weight_1"):
            at = table.column_names.index(name)
            table = table.set_column(at, table.field(at), table.column(at).take(order))
        part = target.with_suffix(".partial")
        pyarrow.parquet.write_table(table, part)
        part.rename(target)
    return target


def dora(seed):
    """DoRA: drawn pairs among many own ones whose labels a coin chose, weighed by how much they look like drawn ones."""
    s = seed.settings
    per_prompt = int(s["images"]) // 2
    own = seed.own_pairs("dora-pairs", "--by", "reward", "--select", "random", "--per-prompt", per_prompt)
    own = tossed(own, seed.folder / "dora-own", seed.seed)
    count = len((own / "pairs.jsonl").read_text().splitlines())
    drawn = seed.drawn_pairs("dora-drawn", round(count * s["share"] / (1 - s["share"])))
    weights = seed.folder / "dora-weights.parquet"
    if not weights.exists():
        smpo("data", "weigh", seed.reward, "--target", drawn, "--source", own, "--out", weights)
    dpo = {"method": "dpo", "beta": s["beta"], "kappa": 0.5, "safeguard": {"mu": 0}}
    robust = {**dpo, "dora": {"lambda": s["strength"]}}
    made = {"dpo": seed.train("dora-dpo", dpo, drawn, own)}
    for name, file in (("dora", weights), ("control", exchanged(weights, seed.folder / "dora-exchanged.parquet", seed.seed))):
        labels = {"winner": "human", "weights": str(file)}
        made[name] = seed.train(f"dora-{name}", robust, drawn, own, labels=labels)
    report = seed.evaluate("dora-report", {**made, "base": seed.model}, 1)
    return [
        difference(report, "dora", "DoRA − DPO on the same mixture", "gain"),
        difference(report, "control", "control: DoRA with the weights of other pairs − DPO", "control"),
    ]


def apo(seed):
    """APO: rounds whose reward is trained on their images, against the same rounds with a fixed reward."""
    s, human = seed.settings, str(seed.drawn_pairs())
    dpo = {"method": "dpo", "beta": s["beta"], "kappa": 0.5, "safeguard": {"mu": 0}}
    rounds = {
        "count": int(s["rounds"]),
        "prompts_per_round": int(s["prompts"]),
        "images": int(s["images"]),
        "generation": {"steps": 10, "sampler": "dpmpp_2m", "guidance_scale": 1, "batch": 32},
        "rewards": [f"reward={seed.reward}"],
        "pairs": {"select": "best_worst"},
        "mix": {"paths": [human], "fraction": s["mix"]},
    }
    made = {}
    for name, weight in (("apo", s["weight"]), ("control", 0)):
        training = {"human": human, "game_weight": weight, "l2": s["l2"]}
        made[name] = seed.iterate(f"apo-{name}", dpo, rounds | {"reward_training": training})
    prompts = seed.folder / "apo-prompts.json"
    texts = [json.loads((folder / "prompts.json").read_text()) for folder in sorted(made["apo"].glob("round-*"))]
    prompts.write_text(json.dumps(sum(texts, [])))
    made["fixed"] = seed.iterate("apo-fixed", dpo, rounds | {"prompts": str(prompts)})
    last = f"round-{rounds['count']:02}"
    models = {name: made[name] / last / "run" for name in ("fixed", "apo", "control")}
    head = made["apo"] / last / "reward"
    report = seed.evaluate("apo-report", {**models, "base": seed.model}, 1, "--reward", f"head={head}")
    fresh = seed.evaluate("apo-fresh", {"apo": models["apo"]}, 1, "--reward", f"head={head}", first=OWN_SEED + seed.seed)
    for number in range(1, rounds["count"] + 1):
        summary = json.loads((made["apo"] / f"round-{number:02}" / "round.json").read_text())
        print(f"seed {seed.seed}: round {number}: {summary['head']}", file=sys.stderr)
    rise = 100 * (area(fresh, "head") - area(fresh, "reward"))
    return [
        difference(report, "apo", "APO − the same rounds with a fixed reward", "gain"),
        # The report has no interval for a difference of areas.
        Finding("area under the curve on fresh own images, trained reward − the reward, hundredths", *(3 * [rise]), "gain"),
        difference(report, "control", "control: the reward trained on people alone − a fixed reward", "control"),
    ]


def area(report, measure):
    """Returns the area under the curve of a reward against the checker's verdicts."""
    for one in json.loads((report / "report.json").read_text())["agreements"]:
        if one["measure"] == measure and one["model"] in (None, ""):
            return one["area_under_curve"]["estimate"]
    raise SystemExit(f"{report}: no agreement of {measure}")


def bcr(seed):
    """BCR: a budget for the winner's error in Diffusion-DPO without a safeguard."""
    s, data = seed.settings, seed.drawn_pairs()
    health = {"runaway_loss": "none", "runaway_error": "none"}
    dpo = {"method": "dpo", "beta": s["beta"], "kappa": 0.5}
    budget = {**dpo, "bcr": {"lambda": s["strength"], "delta": s["budget"]}}
    limited = seed.train("bcr", budget, data, health=health)
    free = seed.train("bcr-control", dpo, data, health=health)
    report = seed.evaluate("bcr-report", {"dpo": free, "bcr": limited}, 1)
    rise = {name: winners_rise(run) for name, run in (("bcr", limited), ("bcr-control", free))}
    allowed = s["budget"] / (0.5 * s["beta"])
    print(f"seed {seed.seed}: rise of the winner's held-out error over the reference's: with the budget {rise['bcr']:.2e},"
          f" without {rise['bcr-control']:.2e}; the budget allows {allowed:.2e}", file=sys.stderr)
    return [
        # The log has means only, so this figure has no interval within a seed.
        Finding("rise of the winner's error without the budget − with it, units of 1e-5",
                *(3 * [1e5 * (rise["bcr-control"] - rise["bcr"])]), "gain"),
        difference(report, "bcr", "DPO with the budget − DPO without", "not below"),
    ]


def selfnpo(seed):
    """Self-NPO: guidance with a negative network that learned from its own average, without preferences."""
    s, data = seed.settings, seed.drawn_pairs()
    images = dict(sections={"data": {"images": "winner"}, "train": {"pairs_per_step": int(s["images"]), "ema": s["ema"]}})
    negative = seed.train("selfnpo", {"method": "selfnpo"}, data, dropout=0.2, **images)
    # The same images and steps without a teacher.
    plain = seed.train("selfnpo-control", {"method": "sft"}, data, dropout=0.2, **images)
    alone = seed.evaluate("selfnpo-alone", {"base": seed.model, "selfnpo": f"{negative}/model"}, 1)
    models = {"base": seed.model, "selfnpo": f"{seed.model}~{negative}", "control": f"{seed.model}~{plain}/model"}
    guided = seed.evaluate("selfnpo-guided", models, s["guidance"])
    return [
        difference(alone, "selfnpo", "negative network by itself − base", "loss"),
        difference(guided, "selfnpo", "base with the negative network − base", "gain"),
        difference(guided, "control", "control: base with SFT on the same images as the negative network − base", "control"),
    ]


def kto(seed):
    """Diffusion-KTO: images with a thumb up or down, each by itself."""
    s, data = seed.settings, seed.drawn_pairs()
    objective = {"method": "kto", "beta": s["beta"]}
    images = dict(sections={"data": {"images": "both"}, "train": {"pairs_per_step": int(s["images"])}})
    tuned = seed.train("kto", objective, data, **images)
    control = seed.train("kto-control", objective, data, labels={"winner": "human", "reversed": True}, **images)
    report = seed.evaluate("kto-report", {"base": seed.model, "kto": tuned, "control": f"{control}/model"}, 1)
    return [
        difference(report, "kto", "KTO − base", "gain"),
        difference(report, "control", "control: thumbs exchanged − base", "control"),
    ]


def rollouts(run):
    entries = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [entry for entry in entries if entry.get("event") == "rollout"]


def learned(run, what, claim):
    """The rise of the mean score of the final images, from the first quarter of the rollouts to the last."""
    scores = [entry["mean_score"] for entry in rollouts(run)]
    quarter = max(1, len(scores) // 4)
    rise = 100 * (sum(scores[-quarter:]) - sum(scores[:quarter])) / quarter
    return Finding(what, rise, rise, rise, claim)  # the log has means only


def trajectories(seed, name, objective, title, **options):
    """Trains with the demo's reward and, as a control, with one that is blind."""
    tuned = seed.roll(name, objective, seed.reward, **options)
    control = seed.roll(f"{name}-control", objective, seed.blind_reward(), **options)
    report = seed.evaluate(f"{name}-report", {"base": seed.model, name: tuned, "control": control}, 1)
    return tuned, [
        learned(tuned, "rise of the reward over the rollouts", "gain"),
        difference(report, name, f"{title} − base, reward", "gain", measure="reward"),
        difference(report, name, f"{title} − base, checker", "gain"),
        difference(report, "control", "control: a blind reward − base, checker", "control"),
    ]


def tailorpo(seed):
    """TailorPO: candidates for steps of the policy's own trajectories, ranked by the demo's reward."""
    s = seed.settings
    return trajectories(seed, "tailorpo", {"method": "tailorpo", "beta": s["beta"]}, "TailorPO",
                        compared_steps=int(s["compared"]))[1]


def tailorpo_g(seed):
    """TailorPO-G: the same, with winners moved along the gradient of the reward."""
    s = seed.settings
    objective = {"method": "tailorpo", "beta": s["beta"]}
    compared = {"compared_steps": int(s["compared"])}
    tuned, findings = trajectories(seed, "tailorpo-g", objective, "TailorPO-G", guide={"strength": s["strength"]}, **compared)
    plain = seed.roll("tailorpo-g-plain", objective, seed.reward, **compared)
    report = seed.evaluate("tailorpo-g-plain-report", {"plain": plain, "guided": tuned}, 1)
    guided = [entry for entry in rollouts(tuned) if entry["guided"] > 0]
    gaps = [(entry["mean_difference"], entry["mean_rise"]) for entry in guided]
    growth = 100 * sum(rise for _, rise in gaps) / sum(gap for gap, _ in gaps) - 20
    return findings + [
        Finding("growth of the pairs' score differences beyond 20 %", growth, growth, growth, "gain"),
        difference(report, "guided", "TailorPO-G − TailorPO, checker", "gain"),
    ]


def spo(seed):
    """SPO's loss with the demo's reward on the predicted clean images."""
    s = seed.settings
    return trajectories(seed, "spo", {"method": "spo", "beta": s["beta"], "clip": s["clip"]}, "SPO", first_step=4,
                        min_preference=s["preference"], continuation="random")[1]


def winners_rise(run):
    last = None
    for line in (run / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry.get("event") == "evaluation":
            last = entry
    return last["winner_error"] - last["reference_winner_error"]


ROWS = {
    "npo": npo,
    "npo-condition": npo_condition,
    "selfnpo": selfnpo,
    "capo": capo,
    "capo-two": capo_two,
    "ipr": ipr,
    "dora": dora,
    "apo": apo,
    "bcr": bcr,
    "kto": kto,
    "tailorpo": tailorpo,
    "tailorpo-g": tailorpo_g,
    "spo": spo,
}


def smpo(*words):
    command = [str(ROOT / "tools/smpo"), *map(str, words)]
    print("smpo " + " ".join(map(str, words)), file=sys.stderr)
    start = time.time()
    result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {result.returncode}\n{result.stderr[-2000:]}")
    print(f"  {time.time() - start:.0f} s", file=sys.stderr)


def seeds_of(text):
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def verdict(findings):
    """Returns one sentence for the same comparison over all seeds."""
    shown, claim, count = sum(f.shown() for f in findings), findings[0].claim, len(findings)
    said = f"{'not below' if claim == 'not below' else 'shown'} for {shown} of {count} seeds"
    if claim == "control":
        return f"{said}; must not be shown" + ("" if shown < NEEDED else ": the control did NOT fail")
    return f"{said}: {'shown' if shown >= NEEDED else 'not shown'}" if count >= NEEDED else said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", nargs="?", choices=sorted(ROWS))
    parser.add_argument("--seeds", default="0-4", type=seeds_of)
    parser.add_argument("--work", default=Path("smpo-methods"), type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting other than the recorded one")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list or not options.row:
        for name, row in ROWS.items():
            print(f"{name:14} {row.__doc__}")
        return
    settings = dict(SETTINGS[options.row])
    for one in options.set:
        name, _, value = one.partition("=")
        if name not in settings:
            raise SystemExit(f"--set {one}: expected one of {', '.join(settings)}")
        settings[name] = float(value)
    all_findings = {}
    for seed in options.seeds:
        for finding in ROWS[options.row](Seed(options.work.resolve(), seed, settings)):
            all_findings.setdefault(finding.what, {})[seed] = finding
            if options.results:
                line = {"row": options.row, "seed": seed, "settings": settings, **vars(finding), "shown": finding.shown()}
                with options.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    print(f"| {options.row} | " + " | ".join(f"seed {seed}" for seed in options.seeds) + " | verdict |")
    print("|---|" + "--:|" * len(options.seeds) + "---|")
    for what, found in all_findings.items():
        print(f"| {what} | " + " | ".join(found[seed].text() for seed in options.seeds) + f" | {verdict(list(found.values()))} |")


if __name__ == "__main__":
    main()
