"""A small CLIP vocabulary, and the ids that transformers 5.23.0 (tokenizers 0.23.3) gives to 6,000 strings.

    python tools/golden/clip_tokenizer.py     writes java/src/test/resources/org/smpo/network/tokenizer/

The vocabulary has the layout of OpenAI's: 256 byte tokens, the same 256 with </w>, one token per merge in order of rank, then
<|startoftext|> and <|endoftext|>. Its merges are trained on text generated here, with pieces of many scripts, so that
multi-byte characters are merged and words are split as in the real one.

strings.jsonl.gz: one line per string, [kind, text, times, ids, ids2]: the string is text repeated `times` times; ids are
those of the tokenizer in first/ (padding with <|endoftext|>) without their padding; ids2 those of the one in second/ (padding
with "!"), null where equal. Every row was also checked here to be ids + padding up to 77.
cases.json: the same for other configurations, given as files and a few strings.
"""

import gzip
import hashlib
import json
import random
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/network/tokenizer"
MERGES = 2800
STRINGS = 6000
START, END = "<|startoftext|>", "<|endoftext|>"

WORDS = """
a the of and in with on at by for from an to is painting portrait photo photograph picture image illustration render drawing
sketch digital oil watercolor acrylic concept matte art artist style highly detailed intricate sharp focus cinematic lighting
dramatic volumetric soft light golden hour sunset sunrise night day city street forest mountain lake river ocean sea beach desert
castle house cabin temple church bridge tower skyline garden flower rose tulip lotus tree leaf grass field meadow snow rain storm
cloud sky moon star galaxy planet space nebula astronaut robot cyborg android dragon unicorn phoenix wolf fox cat dog horse bird
owl eagle lion tiger bear rabbit fish whale shark turtle frog butterfly spider man woman boy girl child king queen prince princess
knight warrior wizard witch samurai ninja pirate soldier detective chef doctor dancer musician guitar piano violin hat coat dress
armor sword shield crown mask glasses hair eyes face hands smiling sitting standing running flying walking sleeping riding wearing
holding looking red orange yellow green blue purple pink black white silver gold bronze crystal glass wood stone metal marble
ancient modern futuristic steampunk cyberpunk fantasy surreal abstract minimalist realistic photorealistic hyperrealistic trending
on artstation unreal engine octane ray tracing depth field bokeh macro wide angle lens camera film grain vintage retro poster
wallpaper background masterpiece best quality resolution ultra hd beautiful elegant epic mysterious dark bright colorful vibrant
monochrome symmetrical composition close up full body front view side top isometric pixel cartoon anime manga comic sculpture clay
paper origami embroidery mosaic stained impressionist baroque renaissance gothic art nouveau deco low poly blurry deformed ugly bad
anatomy extra fingers missing limbs watermark signature text cropped worst jpeg artifacts don't it's we're i've they'll she'd i'm
""".split()
SCRIPTS = """
café naïve jalapeño façade über straße größe Ångström smörgåsbord señor mañana garçon œuvre château Łódź żółty příliš žluťoučký
привет мир красивый закат кошка собака город зима Київ їжак γειά σου κόσμε όμορφη πόλη שלום עולם ילד יפה مرحبا بالعالم جميل قطة
مدينة नमस्ते दुनिया सुन्दर बिल्ली வணக்கம் உலகம் สวัสดี ชาวโลก แมว 你好 世界 美丽的风景 一只猫 城市 夜晚 山水画 繁體中文 こんにちは世界 猫 美しい
カタカナ ひらがな 東京タワー 안녕하세요 세계 고양이 아름다운 도시 Việt Nam đẹp thành phố ამერიკა მთა հայ ሰላም 😀 😂 ❤️ 🔥 ✨ 🎨 🌅 🐱 👩‍🎨 👨‍👩‍👧‍👦 🇫🇷 🏳️‍🌈 👍🏽 ☀️ → ← ★ © ® ™ € £ ¥ °
½ ² – — … “ ” ‘ ’ « » • × ÷ ≤ ∞ √ ∑
""".split()


def byte_characters():
    """Characters that stand for bytes, in the order of their ids: printable bytes first, as themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def train(rng):
    corpus = []
    vocabulary = WORDS * 6 + SCRIPTS
    syllables = [c + v for c in "bcdfghklmnprstvwz" for v in ("a", "e", "i", "o", "u", "an", "er", "in", "or", "al")]
    for _ in range(12000):
        line = [vocabulary[int(len(vocabulary) * rng.random() ** 1.6)] for _ in range(rng.randint(3, 12))]
        line.append("".join(rng.choices(syllables, k=rng.randint(1, 4))))
        if rng.random() < 0.2:
            line.append(rng.choice(["...", "!!!", "--", "(((", ":1.2)", "),", "16:9", "'s", "&amp;", "&#39;", "</", "||"]))
        corpus.append(" ".join(line))
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    pipeline = CLIPTokenizer().backend_tokenizer
    tokenizer.normalizer, tokenizer.pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=100000,
        min_frequency=2,
        show_progress=False,
        end_of_word_suffix="</w>",
        initial_alphabet=byte_characters(),
    )
    tokenizer.train_from_iterator(corpus, trainer)
    merges = [tuple(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]][:MERGES]
    assert len(merges) == MERGES, len(merges)
    alphabet = byte_characters()
    tokens = alphabet + [c + "</w>" for c in alphabet] + [a + b for a, b in merges] + [START, END]
    assert len(set(tokens)) == len(tokens)
    return {token: i for i, token in enumerate(tokens)}, [f"{a} {b}" for a, b in merges]


def added(content, normalized):
    return dict(
        __type="AddedToken", content=content, lstrip=False, normalized=normalized, rstrip=False, single_word=False
    )


def config(pad, normalized=True, **more):
    return dict(
        model_max_length=77,
        tokenizer_class="CLIPTokenizer",
        pad_token=pad,
        bos_token=added(START, normalized),
        eos_token=added(END, normalized),
        unk_token=added(END, normalized),
        **more,
    )


def write(folder, vocabulary, merges, files):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def assigned(low, high):
    """Characters of a range that Unicode 14 (this Python's) assigns, except surrogates and private use."""
    return [chr(c) for c in range(low, high) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def strings(rng):
    """Yields (kind, text, times): first handwritten strings, then random strings of each kind in turn."""
    fixed = [
        "", " ", "\n", "\t\r\n ", "\u00a0", "\u200b", "\ufeff", "\0", "a\0b", "!", "!!", "!!!", "hello!", "! hello", "wow!!! so!nice !",
        START, END, START + END, "x" + END + "y", END.upper(), "<|startofText|> x", "<|endoftext|", "|endoftext|>", "< |endoftext|>",
        "a" + START + "b" + END + "c", "&amp; &lt;b&gt; &quot;x&quot; &#39;", "&amp;amp;", "it's don't we're i've they'll she'd i'm",
        "IT'S DON'T WE'RE I'VE THEY'LL SHE'D I'M", "it’s don’t", "' s 't '''s", "'", "''", "'sup", "rock'n'roll", "o'clock's", "''ve''re",
        "1234567890", "3.14159", "1,000,000", "16:9 4k 8K 1080p", "²³¹½⅓", "٣٤٥ ४५६ 〇一二三 Ⅻ ⅷ", "x" * 200, "9" * 100, "." * 100,
        "İstanbul ISTANBUL ı I ß ẞ ſ ŉ ǰ ΐ ﬁ ﬂ Ω Å K Å", "Σίσυφος ΣΊΣΥΦΟΣ ΟΔΟΣ ΟΔΟΣ.", "ǅ ǆ Ǆ ᾼ ᾳ", "e\u0301 é E\u0301 É", "o\u0308\u0323 o\u0323\u0308",
        "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢", "각 각 한글 한글", "\u1112\u1161\u11ab", "क्षत्रिय क़ क़", "𝒜 𝓫 𝔠 𝕯 𝖊", "🇫🇷🇩🇪", "👨‍👩‍👧‍👦👍🏽🏳️‍🌈", "❤️ ❤",
        "a\u2028b\u2029c\x85d\x0be\x0cf", "a\x1cb\x1dc\x1ed\x1fe", "\u180e \u1680 \u2000\u2001 \u202f \u205f \u3000", "\u061c\u200e\u200f\u202e\u2066",
        "\ud7a3 \uac00 \uffff \ufffe \U0010ffff \U000fffff \ue000", "\u0345 \u0300 \u034f", "a_b__c ___ _ x_1", "C:\\dir\\file.png /usr/bin http://a.b/c?d=e&f=g#h",
        "(a photo:1.3), [b], {c}|{d}, <lora:x:0.8>", "你好，世界！一只猫。", "مرحبا، بالعالم! 123 abc", "שָׁלוֹם עֲלֵיכֶם", "ภาษาไทยไม่มีช่องว่าง", "\U0001f9ff\U0001fae8\U0001fadf",
    ]
    out = [("fixed", text, 1) for text in fixed]
    out += [("long", "a photo of a cat ", 4000), ("long", "x", 20000), ("long", "🔥", 5000), ("long", "e\u0301", 4000), ("long", "!", 3000), ("long", "1", 3000)]
    out += [("long", END + " ", 300), ("long", "'s", 2000), ("long", " ", 20000), ("long", "漢字かな", 2000), ("long", "\u0301", 3000), ("long", "aB9! ", 3000)]

    everything = assigned(0, 0x30000)
    latin = assigned(0xC0, 0x250)
    combining = [c for c in everything if unicodedata.combining(c)]
    controls = assigned(0, 0x20) + assigned(0x7F, 0xA0) + assigned(0x200B, 0x2010) + assigned(0x2028, 0x202F) + ["\ufeff"]
    emoji = assigned(0x1F300, 0x1FB00) + assigned(0x2600, 0x27C0)
    cjk = assigned(0x3040, 0x3100) + assigned(0x4E00, 0x9FFF) + assigned(0xAC00, 0xD7A4) + assigned(0xFF00, 0xFFF0)
    rtl = assigned(0x0590, 0x0800) + assigned(0xFB1D, 0xFE00) + ["\u200f", "\u202b", "\u202c", " "]
    indic = assigned(0x0900, 0x1000)
    cased = [c for c in everything if c.lower() != c or c.upper() != c]
    digits = [c for c in everything if unicodedata.category(c) in ("Nd", "Nl", "No")]
    spaces = [c for c in everything if c.isspace()]
    composed = [c for c in everything if unicodedata.normalize("NFC", c) != c or unicodedata.normalize("NFD", c) != c]
    ascii_ = [chr(c) for c in range(32, 127)]
    entities = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;", "&#x1F600;", "&eacute;", "&", ";", "&#", "&amp;lt;"]
    apostrophes = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'", "’s", "'S", "'LL", "''", "`", "´"]
    specials = [START, END, START.upper(), "<|", "|>", "<", "|", "endoftext", END + "</w>", "</w>", "!", "!!"]

    def of(characters, low=1, high=16):
        return lambda: "".join(rng.choices(characters, k=rng.randint(low, high)))

    def words(extra=(), low=2, high=16, glue=" "):
        def make():
            picked = [rng.choice(extra) if extra and rng.random() < 0.4 else rng.choice(WORDS) for _ in range(rng.randint(low, high))]
            picked = [w.upper() if rng.random() < 0.05 else w.title() if rng.random() < 0.1 else w for w in picked]
            return glue.join(picked)

        return make

    def prompt():
        return ", ".join(words(high=6)() for _ in range(rng.randint(1, 12)))

    def mixed():
        parts = [of(rng.choice([emoji, cjk, rtl, indic, latin, controls, combining, digits, spaces]), 1, 3)() for _ in range(4)]
        return "".join(rng.choice(WORDS) + rng.choice(["", " "]) + part for part in parts)

    def accents():
        return "".join(c + "".join(rng.choices(combining, k=rng.randint(0, 3))) for c in rng.choices(ascii_ + latin + composed, k=rng.randint(1, 8)))

    def weights():
        return ", ".join(f"({rng.choice(WORDS)}:{rng.uniform(0, 2):.{rng.randint(0, 3)}f})" for _ in range(rng.randint(1, 8)))

    kinds = {
        "prompt": prompt,
        "words": words(),
        "scripts": words(SCRIPTS),
        "glued": words(SCRIPTS, 2, 6, ""),
        "ascii": of(ascii_, 1, 60),
        "unicode": of(everything, 1, 12),
        "latin": of(latin + ascii_, 1, 30),
        "combining": accents,
        "composed": of(composed, 1, 8),
        "control": of(controls + ascii_, 1, 30),
        "emoji": of(emoji + ["\u200d", "\ufe0f", "\U0001f3fd", " "], 1, 10),
        "cjk": of(cjk, 1, 16),
        "rtl": of(rtl, 1, 24),
        "indic": of(indic, 1, 16),
        "cased": of(cased, 1, 14),
        "numbers": of(digits + list("0123456789.,:/ ") * 60, 1, 24),
        "spaces": words(spaces, 2, 12, ""),
        "entities": words(entities, 2, 12, ""),
        "apostrophes": words(apostrophes, 2, 12, ""),
        "specials": words(specials, 2, 10, ""),
        "weights": weights,
        "mixed": mixed,
        "over": words(SCRIPTS, 50, 90),
    }
    seen = {text * times for _, text, times in out}
    names = list(kinds)
    while len(out) < STRINGS:
        name = names[len(out) % len(names)]
        text = kinds[name]()
        if text not in seen:
            seen.add(text)
            out.append((name, text, 1))
    return out


def ids(tokenizer, texts):
    """Returns rows without padding, which is checked here. The end token is kept."""
    encoded = tokenizer(texts, padding="max_length", max_length=77, truncation=True)
    out = []
    for row, mask in zip(encoded.input_ids, encoded.attention_mask):
        count = sum(mask)
        assert len(row) == 77 and row[0] == tokenizer.bos_token_id and row[count - 1] == tokenizer.eos_token_id
        assert all(i == tokenizer.pad_token_id for i in row[count:])
        out.append(row[:count])
    return out


def main():
    assert transformers.__version__ == "5.23.0" and tokenizers.__version__ == "0.23.3"
    rng = random.Random(20250602)
    vocabulary, merges = train(rng)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    first, second = config(END), config("!")
    write(OUT, vocabulary, merges, {"first.json": first, "second.json": second})

    rows = strings(rng)
    texts = [text * times for _, text, times in rows]
    probes = ["hello!!!", END.upper() + " x", "x" + END + "y!", START, "a Photo of!a CAFÉ 🔥", "", "!", "a photo of a cat " * 40]
    plain = {k: v["content"] if isinstance(v, dict) else v for k, v in second.items()}
    decoder = {str(vocabulary[t]): {**added(t, n), "special": True} for t, n in (("!", False), (START, False), (END, True))}
    for token in decoder.values():
        del token["__type"]
    map_ = {k: {x: y for x, y in v.items() if x != "__type"} if isinstance(v, dict) else v for k, v in second.items() if "_token" in k}
    forms = {
        "first": {"tokenizer_config.json": first},
        "second": {"tokenizer_config.json": second},
        "strings": {"tokenizer_config.json": plain},
        "not_normalized": {"tokenizer_config.json": config(END, normalized=False)},
        "no_pad_token": {"tokenizer_config.json": {k: v for k, v in first.items() if k != "pad_token"}},
        "map_over_config": {"tokenizer_config.json": first, "special_tokens_map.json": map_},
        "decoder_over_map": {"tokenizer_config.json": {**plain, "added_tokens_decoder": decoder}, "special_tokens_map.json": map_},
        "no_config": {},
    }
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        results = {}
        for name, files in forms.items():
            write(Path(folder) / name, vocabulary, merges, files)
            tokenizer = CLIPTokenizer.from_pretrained(str(Path(folder) / name))
            results[name] = tokenizer
            tokenizer.model_max_length = 77
            case = dict(name=name, files=files, pad_id=tokenizer.pad_token_id, texts=probes, ids=ids(tokenizer, probes))
            cases.append(case)
            # The same tokenizer as one file, without its vocabulary, which the test inserts.
            tokenizer.save_pretrained(str(Path(folder) / (name + "-saved")))
            saved = Path(folder) / (name + "-saved")
            again = CLIPTokenizer.from_pretrained(str(saved))
            one = json.loads((saved / "tokenizer.json").read_text("utf-8"))
            one["model"]["vocab"] = one["model"]["merges"] = None
            conf = json.loads((saved / "tokenizer_config.json").read_text("utf-8"))
            cases.append(
                dict(
                    name=name + " as tokenizer.json",
                    files={"tokenizer.json": one, "tokenizer_config.json": conf},
                    pad_id=again.pad_token_id,
                    texts=probes,
                    ids=ids(again, probes),
                )
            )
        ids1, ids2 = ids(results["first"], texts), ids(results["second"], texts)

    lines = [
        json.dumps([kind, text, times, a, None if a == b else b], separators=(",", ":"), ensure_ascii=True)
        for (kind, text, times), a, b in zip(rows, ids1, ids2)
    ]
    (OUT / "strings.jsonl.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
    (OUT / "cases.json").write_text(json.dumps(cases, separators=(",", ":"), ensure_ascii=True) + "\n", "utf-8")
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in sorted(OUT.iterdir())]
    (OUT / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    used = {i for row in ids1 for i in row}
    print(f"{len(rows)} strings, {sum(map(len, ids1))} ids, {len(used)} of {len(vocabulary)} tokens used,")
    print(f"{sum(a != b for a, b in zip(ids1, ids2))} differ in the second, {sum(len(a) == 77 for a in ids1)} fill the row")
    for path in sorted(OUT.iterdir()):
        print(path.stat().st_size, path.name)


if __name__ == "__main__":
    sys.exit(main())
