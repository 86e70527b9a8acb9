"""The rendered scenes that the demo's small model is trained on.

    tools/smpo demo draw --scenes 40000 --out DIR    renders them
    python tools/demo/scenes.py DIR                  prints a summary

Only the Java code renders scenes, so training in Python and checking in Java use the same distribution.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

SIDE = 64

# The vocabulary of org.smpo.demo.Scene; the tokenizer adds start and end tokens.
VOCABULARY = (
    "a two three small large red yellow green cyan blue purple circle square triangle ring "
    "circles squares triangles rings left right of above below"
).split()


def read(folder):
    """Returns the images, uint8 [count, 64, 64, 3], and their captions in the same order."""
    images = load_file(Path(folder) / "scenes.safetensors")["pictures"]
    captions = (Path(folder) / "captions.txt").read_text(encoding="utf-8").splitlines()
    if images.dtype != np.uint8 or images.shape != (len(captions), SIDE, SIDE, 3):
        raise ValueError(
            f"{folder}: expected uint8 [{len(captions)}, {SIDE}, {SIDE}, 3], found {images.dtype} {images.shape}"
        )
    unknown = {word for caption in captions for word in caption.split()} - set(VOCABULARY)
    if unknown:
        raise ValueError(f"{folder}: captions.txt: expected words of the vocabulary, found {sorted(unknown)}")
    return images, captions


def unit(images):
    """Returns images as the VAE expects them: float32 [count, 3, 64, 64], -1 to 1."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rendered, texts = read(sys.argv[1])
    print(f"{len(texts)} scenes, {len(set(texts))} captions, mean {rendered.mean():.2f}")
    for word, count in Counter(word for text in texts for word in text.split()).most_common():
        print(f"{count:8} {word}")
