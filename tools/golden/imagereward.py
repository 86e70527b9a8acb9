"""Tokens and scores of a tiny ImageReward in the published layout, by transformers' and timm's own code.

    python tools/golden/imagereward.py     writes java/src/test/resources/org/smpo/reward/imagereward/
                                           and native/test/golden/blip/

Pinned: torch 2.11.0, torchvision 0.26.0, transformers 5.24.0, timm 1.0.31, Pillow 13.0.0. Weights come from synthetic.py by their
names in ImageReward.pt, images from clip_score.py: so results alone are committed.

The vision transformer is timm's VisionTransformer, from which BLIP's is copied; BERT is transformers' BlipTextModel, BLIP's
med.py under the same names. Preprocessing is torchvision's Resize, CenterCrop, ToTensor and Normalize of a Pillow image, as in
ImageReward/ImageReward.py of github.com/THUDM/ImageReward at commit c1392c6; captions are padded to 35 tokens and masked, as
there.

vocab.txt: a small vocabulary, trained on the captions. tokens.json: [text, ids] of transformers' BertTokenizer with truncation
to 35 tokens and without padding. imagereward.json: images [name, height, width]; captions; parameters by name with shapes;
"scores" in float32 and "exact" in float64, both [captions][images]. imagereward.safetensors: IMAGE, pixel values.

native/test/golden/blip/{blip.json, blip.safetensors}: parameters; "ids" [B,S]; states [B,T,E] of random pixel values
(case0.pixel_values of synthetic.py), and first [B,C], the state of the first token.
"""

import json
import sys
import unicodedata
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms as transforms
from PIL import Image
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer
from transformers.models.blip.configuration_blip import BlipTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextModel

sys.path.insert(0, str(Path(__file__).parent))
import clip_score
import synthetic

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "java/src/test/resources/org/smpo/reward/imagereward"
NATIVE = ROOT / "native/test/golden/blip"
SIDE, PATCH, WIDTH, DEPTH, INNER = 48, 16, 128, 3, 160
TEXT = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=40,
            layer_norm_eps=1e-12)
LENGTH = 35
MEAN, STD = 0.16717362830052426, 1.0333394966054072
LAYERS, WIDTHS = [0, 2, 4, 6, 7], [48, 32, 16, 8, 4, 1]
# Tall and wide by odd and even numbers of pixels, tiny, and the model's own side. Of "odd" and "three" the rest of the crop is
# odd, where torchvision rounds half to even.
IMAGES = [["tall", 117, 58], ["wide", 61, 130], ["tiny", 5, 3], ["odd", 47, 48], ["three", 51, 48], ["own", 48, 48],
          ["large", 301, 299]]
PROMPTS = [
    "a photo of a cat", "A Photograph of TWO dogs, running on the beach!", "", " ", "\t\n", "a", "unbelievableness",
    "hyper-realistic 8k portrait (masterpiece:1.2), [soft light]", "naïve café crème brûlée à la carte", "Ångström Ñandú Œuvre",
    "İstanbul ISTANBUL ı ß ẞ ﬁ ŉ ǅ", "ΟΔΟΣ Σίσυφος", "e\u0301 é o\u0308\u0323", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢", "你好，世界！一只猫。", "漢字かなカタカナ", "한글 각 각",
    "क्षत्रिय", "مرحبا، بالعالم! 123 abc", "שָׁלוֹם עֲלֵיכֶם", "ภาษาไทย", "🔥", "cat🔥dog 👍🏽 👨‍👩‍👧‍👦 🇫🇷 ❤️", "🫨 \U0001fadf", "it's don't we're",
    "it’s “quoted” — dash … ellipsis", "3.14159 1,000,000 16:9 4k ²³½ Ⅻ", "x" * 100, "x" * 101, "x" * 120 + " cat", "cat " * 60,
    "dog, " * 40, "[CLS] a cat [SEP]", "a[MASK]b", "[sep] [Mask] [PAD] [UNK]", "[DEC] cat [ENC]", "a\u200bb \ufeff \u00a0 c\u00add", "a\0b", "\ufffd",
    "C:\\dir\\file.png http://a.b/c?d=e&f=g#h", "&amp; &lt;b&gt;", "$5 + €6 = £11 ^_^ ~`|", "\u2028 \u2029 \x85 a\x1cb",
    "\ue000 \U000fffff", "𝒜 𝓫 𝕯", "ǆ ᾳ ΐ", "a_b__c ___", "tail\n", "a\u0345 \u034f b", "<|endoftext|> <lora:x:0.8>",
]


def prompts():
    """Returns the fixed prompts and random ones of many scripts."""
    rng = np.random.default_rng(20261201)
    words = sorted({w for p in PROMPTS for w in p.split()})
    blocks = [(0x20, 0x7F), (0xC0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x5D0, 0x700), (0x900, 0xE00), (0x1E00, 0x2100),
              (0x2100, 0x2C00), (0x3000, 0x3400), (0x4E00, 0x5000), (0xAC00, 0xAD00), (0xF900, 0xFB10), (0xFE00, 0x10000),
              (0x1F300, 0x1FB00), (0x20000, 0x20100), (0, 0x110000)]
    out = list(PROMPTS)
    while len(out) < 400:
        parts = []
        for _ in range(rng.integers(1, 9)):
            low, high = blocks[rng.integers(len(blocks))]
            letters = [chr(c) for c in rng.integers(low, high, rng.integers(1, 6))]
            letters = "".join(c for c in letters if unicodedata.category(c) not in ("Cs", "Cn"))
            parts.append(str(rng.choice(words)) if rng.random() < 0.5 else letters)
        out.append("".join(p + (" " if rng.random() < 0.8 else "") for p in parts))
    return out


def vocabulary(texts):
    """Trains a vocabulary, whose special tokens stand where bert-base-uncased has them first: [PAD], ..., letters, words."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=2500, special_tokens=special, limit_alphabet=1200, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.get)


def tokenizer_of(file):
    tokenizer = BertTokenizer(vocab=str(file), do_lower_case=True)
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_tokens(["[ENC]"], special_tokens=True)
    return tokenizer


def vision():
    model = VisionTransformer(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=WIDTH // 64,
                              mlp_ratio=INNER / WIDTH, qkv_bias=True, num_classes=0, global_pool="")
    assert model.norm.eps == 1e-6
    return synthetic.fill(model, lambda name: "blip.visual_encoder." + name).eval()


def text(tokens):
    config = BlipTextConfig(vocab_size=tokens, encoder_hidden_size=WIDTH, is_decoder=True, hidden_act="gelu", **TEXT)
    return synthetic.fill(BlipTextModel(config, add_pooling_layer=False), lambda name: "blip.text_encoder." + name).eval()


def first(model, ids, states, mask=None):
    """The state of the first token; the text sees itself in both directions."""
    attended = torch.ones(states.shape[:-1], dtype=torch.long)
    return model(ids, attention_mask=mask, encoder_hidden_states=states, encoder_attention_mask=attended,
                 is_decoder=False).last_hidden_state[:, 0]


def head(dtype):
    modules = torch.nn.Sequential()
    for number, (inputs, outputs) in zip(LAYERS, zip(WIDTHS, WIDTHS[1:])):
        linear = torch.nn.Linear(inputs, outputs)
        synthetic.fill(linear, lambda name: f"mlp.layers.{number}.{name}")
        modules.append(linear)
    return modules.to(dtype)


@torch.no_grad()
def scores(images, captions, tokenizer, dtype):
    see, read, judge = vision().to(dtype), text(len(tokenizer)).to(dtype), head(dtype)
    states = see(images.to(dtype))
    given = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    rows = []
    for ids, mask in zip(given.input_ids, given.attention_mask):
        count = len(images)
        features = first(read, ids.expand(count, -1), states, mask.expand(count, -1))
        rows.append(((judge(features)[:, 0] - MEAN) / STD).tolist())
    return rows


@torch.no_grad()
def native(tokens):
    NATIVE.mkdir(parents=True, exist_ok=True)
    see, read = vision(), text(tokens)
    pixels = torch.from_numpy(synthetic.normal_like("case0.pixel_values", [3, 3, SIDE, SIDE]))
    ids = [[3, 17, 250, 41, 4], [3, 99, 100, 101, 4], [3, 5, tokens - 1, 6, 4]]
    states = see(pixels)
    results = dict(states=states, first=first(read, torch.tensor(ids), states))
    parameters = {"blip.visual_encoder." + n: list(p.shape) for n, p in see.named_parameters()}
    parameters |= {"blip.text_encoder." + n: list(p.shape) for n, p in read.named_parameters()}
    described = dict(side=SIDE, patch=PATCH, width=WIDTH, depth=DEPTH, inner=INNER, tokens=tokens, text=TEXT, ids=ids,
                     parameters=parameters)
    (NATIVE / "blip.json").write_text(json.dumps(described, indent=1) + "\n")
    save_file({n: r.contiguous() for n, r in results.items()}, NATIVE / "blip.safetensors")
    (NATIVE / "blip.safetensors").chmod(0o644)
    synthetic.write_sums(NATIVE)
    return parameters


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    texts = prompts()
    file = OUT / "vocab.txt"
    file.write_text("".join(token + "\n" for token in vocabulary(texts)), encoding="utf-8")
    tokenizer = tokenizer_of(file)
    rows = [[t, tokenizer(t, truncation=True, max_length=LENGTH)["input_ids"]] for t in texts]
    unknown = tokenizer.unk_token_id
    print(len(rows), "texts,", sum(len(r[1]) == LENGTH for r in rows), "cut,", sum(unknown in r[1] for r in rows), "with unknown,",
          len({i for r in rows for i in r[1]}), "of", len(tokenizer), "tokens used")
    (OUT / "tokens.json").write_text(json.dumps(dict(rows=rows), ensure_ascii=True) + "\n", encoding="utf-8")

    transform = transforms.Compose([
        transforms.Resize(SIDE, interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(SIDE),
        transforms.ToTensor(),
        transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ])
    images = torch.stack([transform(Image.fromarray(clip_score.image_pixels(*image))) for image in IMAGES])
    captions = [texts[i] for i in (0, 1, 2, 8, 14, 22, 30)]
    single, double = (scores(images, captions, tokenizer, dtype) for dtype in (torch.float32, torch.float64))
    print("float32 against float64", np.abs(np.array(single) - np.array(double)).max(), "scores", np.min(double), np.max(double),
          "over images", np.std(double, axis=1).min(), "over captions", np.std(double, axis=0).min())
    parameters = native(len(tokenizer))
    for number, (inputs, outputs) in zip(LAYERS, zip(WIDTHS, WIDTHS[1:])):
        parameters |= {f"mlp.layers.{number}.weight": [outputs, inputs], f"mlp.layers.{number}.bias": [outputs]}
    result = dict(side=SIDE, images=IMAGES, captions=captions, text=dict(TEXT, vocab_size=len(tokenizer)), parameters=parameters,
                  scores=single, exact=double)
    (OUT / "imagereward.json").write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file({name[0]: value.contiguous() for name, value in zip(IMAGES, images)}, OUT / "imagereward.safetensors")
    (OUT / "imagereward.safetensors").chmod(0o644)
    synthetic.write_sums(OUT)


main()
