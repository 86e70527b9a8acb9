"""Two small datasets as Hugging Face datasets 5.2.0 (pyarrow 26.0.1, Pillow 13.0.0) save them to disk.

    python tools/golden/arrow.py    writes java/src/test/resources/org/smpo/data/arrow/

pairs/: Pick-a-Pic's columns with plain bytes, 12 rows in 2 files, batches of 5 rows, with columns of types that readers
skip. images/: `Image()` features (structs of bytes and path), large text, labels as integers, 3 rows, one without a caption
and one without an image. odd.arrow: one stream of every skipped type. soft.arrow: `probability_0` in
float32, three rows, one of them without it. expected.json: the content of the first two.
"""

import base64
import datetime
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetInfo, Features, Image, Sequence, Value
from datasets.table import InMemoryTable
import PIL.Image

RESOURCES = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/data/arrow"


def encoded(seed, form):
    rng = np.random.default_rng(seed)
    out = io.BytesIO()
    PIL.Image.fromarray(rng.integers(0, 256, (9 + seed % 4, 8, 3), dtype=np.uint8)).save(out, form, quality=90)
    return out.getvalue()


def data_set(rows, features):
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    return Dataset(InMemoryTable(table), info=DatasetInfo(features=features), fingerprint="0")


def pairs():
    rows = []
    for i in range(12):
        label = [1.0, 0.0, 0.5][i % 3]
        rows.append(
            dict(
                are_different=label != 0.5,
                best_image_uid={1.0: f"a{i}", 0.0: f"b{i}", 0.5: "tie"}[label],
                caption=f"drawing {i}, ünïcode 猫",
                created_at=datetime.datetime(2023, 1, 1 + i),
                has_label=i != 7,
                image_0_uid=f"a{i}",
                image_1_uid=f"b{i}",
                jpg_0=encoded(2 * i, "JPEG"),
                jpg_1=encoded(2 * i + 1, "PNG"),
                label_0=label,
                label_1=1 - label,
                ranking_id=1000 + i,
                tags=["x"] * (i % 3),
                score_0=i / 8,
                score_1=1 - i / 16,
            )
        )
    features = Features(
        are_different=Value("bool"), best_image_uid=Value("string"), caption=Value("string"),
        created_at=Value("timestamp[ns]"), has_label=Value("bool"), image_0_uid=Value("string"),
        image_1_uid=Value("string"), jpg_0=Value("binary"), jpg_1=Value("binary"), label_0=Value("float64"),
        label_1=Value("float64"), ranking_id=Value("int64"), tags=Sequence(Value("string")),
        score_0=Value("float32"), score_1=Value("float64"),
    )  # fmt: skip
    return rows, data_set(rows, features)


def images():
    rows = [
        dict(caption="one", jpg_0=encoded(50, "PNG"), jpg_1=encoded(51, "PNG"), label_0=1),
        dict(caption=None, jpg_0=encoded(52, "PNG"), jpg_1=encoded(53, "PNG"), label_0=0),
        dict(caption="three", jpg_0=encoded(54, "PNG"), jpg_1=None, label_0=None),
    ]
    features = Features(caption=Value("large_string"), jpg_0=Image(), jpg_1=Image(), label_0=Value("int8"))
    data = [{k: dict(bytes=v, path=None) if isinstance(v, bytes) else v for k, v in row.items()} for row in rows]
    return rows, data_set(data, features)


def odd(path):
    arrays = dict(
        nothing=pa.nulls(3),
        when=pa.array([1, None, 3], pa.timestamp("us")),
        money=pa.array([1, 2, None], pa.decimal128(9, 2)),
        fixed=pa.array([b"abc", b"def", None], pa.binary(3)),
        lists=pa.array([[1], None, [2, 3]], pa.list_(pa.int32())),
        large=pa.array([["a"], [], None], pa.large_list(pa.string())),
        pair=pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        mapping=pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        coded=pa.array(["x", "y", "x"]).dictionary_encode(),
        nested=pa.array([dict(a=dict(b=b"deep")), None, dict(a=None)]),
        half=pa.array(np.array([0.5, -2, 65504], np.float16)),
        small=pa.array([-1, None, 127], pa.int8()),
        unsigned=pa.array([255, 0, None], pa.uint8()),
        truth=pa.array([True, None, False]),
        large_bytes=pa.array([b"", None, b"\x00\xff"], pa.large_binary()),
        text=pa.array(["last", "", None]),
    )
    table = pa.table(arrays)
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
        writer.write_table(table.slice(1, 2))


def soft(path):
    """Pairs whose label is a probability."""
    table = pa.table(
        dict(
            caption=pa.array(["one", "two", "three"]),
            jpg_0=pa.array([encoded(60 + i, "PNG") for i in range(3)]),
            jpg_1=pa.array([encoded(70 + i, "PNG") for i in range(3)]),
            probability_0=pa.array([0.25, None, 0.875], pa.float32()),
        )
    )
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)


def shown(row):
    return {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items() if k != "created_at"}


def main():
    shutil.rmtree(RESOURCES, ignore_errors=True)
    RESOURCES.mkdir(parents=True)
    expected = {}
    for name, (rows, data), shards in (("pairs", pairs(), 2), ("images", images(), 1)):
        data.save_to_disk(str(RESOURCES / name), num_shards=shards)
        expected[name] = [shown(row) for row in rows]
        for info in (RESOURCES / name).glob("*.json"):
            values = json.loads(info.read_text())
            values.pop("_fingerprint", None)
            info.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
    odd(RESOURCES / "odd.arrow")
    soft(RESOURCES / "soft.arrow")
    (RESOURCES / "expected.json").write_text(json.dumps(expected, indent=0, ensure_ascii=False) + "\n")
    files = sorted(p for p in RESOURCES.rglob("*") if p.is_file())
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(RESOURCES)}" for p in files]
    (RESOURCES / "SHA256SUMS").write_text("\n".join(sums) + "\n")


if __name__ == "__main__":
    main()
