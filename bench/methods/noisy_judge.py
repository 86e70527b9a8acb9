#!/usr/bin/env python3
"""A judge for `smpo data pairs --judge command:...`: the majority of several noisy votes by the demo's reward.

    noisy_judge.py --scores EVALUATION --noise SIGMA --votes N

Reads JSON lines {"id", "prompt", "image_0", "image_1"} and answers {"id", "p"}: 1 if most votes are for image 0, else 0. A vote
compares the two rewards, each with normal noise that depends only on the vote and on the file's bytes, so that the same
question always gets the same answer.
"""

import argparse
import hashlib
import json
import random
import sys
from pathlib import Path

import pyarrow.parquet


def scores(evaluation):
    """Returns the reward of each image by the digest of its file."""
    table = pyarrow.parquet.read_table(evaluation / "results.parquet", columns=["picture", "reward"])
    rows = zip(table["picture"].to_pylist(), table["reward"].to_pylist(), strict=True)
    return {digest(evaluation / file): reward for file, reward in rows}


def digest(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def noisy(reward, key, vote, sigma):
    return reward + random.Random(f"{key}-{vote}").gauss(0, sigma)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--noise", type=float, required=True)
    parser.add_argument("--votes", type=int, required=True)
    options = parser.parse_args()
    known = scores(options.scores)
    for line in sys.stdin:
        question = json.loads(line)
        keys = [digest(question[name]) for name in ("image_0", "image_1")]
        votes = 0
        for vote in range(options.votes):
            first, second = (noisy(known[key], key, vote, options.noise) for key in keys)
            votes += first > second
        print(json.dumps({"id": question["id"], "p": 1.0 if 2 * votes > options.votes else 0.0}), flush=True)


if __name__ == "__main__":
    main()
