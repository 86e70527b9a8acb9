"""CLIP's byte-pair merges, which come with the program because checkpoints hold no tokenizer.

    python tools/golden/clip_vocabulary.py     writes java/src/main/resources/org/smpo/checkpoint/clip-merges.txt.gz and
                                               java/src/test/resources/org/smpo/checkpoint/clip_ids.json

Source: bpe_simple_vocab_16e6.txt.gz of open_clip_torch 3.3.0 (OpenAI's file, MIT licence), of which CLIP uses the first
48,894 merges. clip-merges.txt.gz has the content of transformers' merges.txt; the ids follow from the order: 256 byte
characters, the same with </w>, one per merge, <|startoftext|>, <|endoftext|>.
clip_ids.json: open_clip's ids of some prompts that ftfy does not change, [text, ids without padding], and the SHA-256 of the merges.
"""

import gzip
import hashlib
import json
import sys
from pathlib import Path

import open_clip
import open_clip.tokenizer

sys.path.insert(0, str(Path(__file__).parent))
import synthetic

ROOT = Path(__file__).resolve().parents[2]
RESOURCE = ROOT / "java/src/main/resources/org/smpo/checkpoint/clip-merges.txt.gz"
IDS = ROOT / "java/src/test/resources/org/smpo/checkpoint/clip_ids.json"
MERGES = 49152 - 256 - 2

PROMPTS = [
    "a photo of a cat",
    "",
    "An astronaut riding a horse on mars, photorealistic, 8k, trending on artstation!!",
    "naïve café, piñata — (quoted) text ½ 3.14",
    "a fox's den; it's snowing & they've left",
    "猫 在 桌子上 🐱",
    "masterpiece, (best quality:1.2), [low quality], <lora:x:0.8>",
    "a " * 100,
    "supercalifragilisticexpialidocious",
    "CAPS and   spaces\tand\nlines",
]


def main():
    source = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(source.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    text = ("#version: 0.2\n" + "\n".join(lines) + "\n").encode("utf-8")
    RESOURCE.write_bytes(gzip.compress(text, 9, mtime=0))
    tokenizer = open_clip.tokenizer.SimpleTokenizer()
    cases = []
    for prompt in PROMPTS:
        ids = tokenizer([prompt])[0].tolist()
        cases.append([prompt, ids[: ids.index(49407) + 1]])
    IDS.write_text(
        json.dumps(dict(merges_sha256=hashlib.sha256(text).hexdigest(), cases=cases), ensure_ascii=False, indent=1) + "\n",
        encoding="utf-8",
    )
    synthetic.write_sums(IDS.parent)
    print(len(text), RESOURCE.stat().st_size)


main()
