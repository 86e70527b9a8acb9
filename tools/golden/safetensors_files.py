"""Makes java/src/test/resources/org/smpo/io/*.json: files and verdicts of the Python safetensors library.

* files.json: small files as save_file() writes them (hexadecimal), with their content. Metadata has at most one key, because
  the library writes several in random order.
* verdicts.json: several hundred damaged headers (with the size of the data that follows) and whether the library accepts
  the file.

Run: python tools/golden/safetensors_files.py   (safetensors 0.8.0, numpy 2.4.6)
"""
import base64
import hashlib
import json
import pathlib
import random
import struct

import numpy
import safetensors
from safetensors import TensorSpec, serialize

OUT = pathlib.Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/io"
SEED = 20251121

BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
        "C64": 64, "F64": 64, "I64": 64, "U64": 64}
# The dtype names that serialize() takes, on which save_file() is built.
CODES = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
         "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "C64": "complex64",
         "I16": "int16", "U16": "uint16", "F16": "float16", "BF16": "bfloat16", "I32": "int32", "U32": "uint32",
         "F32": "float32", "F64": "float64", "I64": "int64", "U64": "uint64"}


def size(dtype, shape):
    return int(numpy.prod([1, *shape])) * BITS[dtype] // 8


def pattern(name, count):
    """Returns bytes that a test can reproduce: SHA-256 of name and counter, concatenated."""
    out = b""
    block = 0
    while len(out) < count:
        out += hashlib.sha256(f"{name}:{block}".encode()).digest()
        block += 1
    return out[:count]


def saved(tensors, metadata):
    buffers = {n: numpy.frombuffer(pattern(n, size(d, s)) + b"\0", dtype=numpy.uint8) for n, d, s in tensors}
    specs = {n: TensorSpec(dtype=CODES[d], shape=s, data_ptr=buffers[n].ctypes.data, data_len=size(d, s))
             for n, d, s in tensors}
    return bytes(serialize(specs, metadata=metadata or None))


def files():
    rng = random.Random(SEED)
    sets = [
        ([], {}),
        ([], {"format": "pt"}),
        ([("scalar", "F32", [])], {}),
        ([("empty", "F16", [0, 4]), ("also", "F32", [3, 0]), ("x", "I64", [1])], {"format": "pt"}),
        ([("b", "F32", [2]), ("a", "F32", [3]), ("B", "F32", [1]), ("a.b", "F32", [1]), ("", "F32", [1])], {}),
        ([("é\n\"\\/\t\b\f\r\x01\x1f\x7f", "U8", [3]), ("\ue000", "U8", [1]), ("\U0001f600", "U8", [1]), ("日本", "U8", [2])],
         {"k\"é\n\x02/": "v \U0001f600\\"}),
        ([(d.lower(), d, [2, 3]) for d in CODES], {"format": "np"}),
        ([(f"odd{i}", d, [5]) for i, d in enumerate(["U8", "I16", "BOOL", "F32"])], {}),
    ]
    for _ in range(12):
        tensors = []
        for i in range(rng.randrange(1, 12)):
            shape = [rng.randrange(0, 5) for _ in range(rng.randrange(0, 4))]
            tensors.append((f"{rng.choice('abcxyz')}.{rng.randrange(30)}.{i}", rng.choice(list(CODES)), shape))
        sets.append((tensors, {"n": str(rng.random())} if rng.random() < 0.5 else {}))
    return [{"tensors": [{"name": n, "dtype": d, "shape": s} for n, d, s in tensors], "metadata": metadata,
             "bytes": saved(tensors, metadata).hex()} for tensors, metadata in sets]


def accepts(header, data_size):
    try:
        safetensors.deserialize(struct.pack("<Q", len(header)) + header + bytes(data_size))
        return True
    except Exception:
        return False


def base_header(rng):
    tensors, at, parts = rng.randrange(1, 5), 0, []
    if rng.random() < 0.5:
        parts.append(b'"__metadata__":{"format":"pt","k":"v"}')
    for i in range(tensors):
        dtype = rng.choice(list(BITS))
        shape = [rng.choice([0, 1, 2, 4, 8]) for _ in range(rng.randrange(0, 3))]
        if BITS[dtype] < 8:
            shape.append(8)
        end = at + size(dtype, shape)
        parts.append(json.dumps(f"t{i}").encode() + b':{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}' % (
            dtype.encode(), json.dumps(shape, separators=(",", ":")).encode(), at, end))
        at = end
    rng.shuffle(parts)
    header = b"{" + b",".join(parts) + b"}"
    return header + b" " * (-len(header) % 8), at


HAND = [
    (b"", 0), (b"{}", 0), (b"{} ", 0), (b" {}", 0), (b"{}\n", 0), (b"{}\0", 0), (b"{", 0), (b"[]", 0), (b"null", 0),
    (b'{"a":1}', 0), (b'{"a":{}}', 0), (b'{"a":null}', 0), (b'{"__metadata__":{}}', 0), (b'{"__metadata__":null}', 0),
    (b'{"__metadata__":{"a":1}}', 0), (b'{"__metadata__":{"a":null}}', 0), (b'{"__metadata__":{"a":"b","a":"c"}}', 0),
    (b'{"__metadata__":{},"__metadata__":{}}', 0), (b'{"__metadata__":[]}', 0), (b"{},", 0), (b"{}{}", 0),
    (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},}', 4), (b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
] + [(b'{"a":{' + inner + b"}}", n) for inner, n in [
    (b'"dtype":"F32","shape":[1],"data_offsets":[0,4]', 4), (b'"dtype":"F32","shape":[1],"data_offsets":[0,4]', 5),
    (b'"dtype":"F32","shape":[1],"data_offsets":[0,4]', 3), (b'"dtype":"f32","shape":[1],"data_offsets":[0,4]', 4),
    (b'"dtype":"F32","shape":[1],"data_offsets":[1,5]', 5), (b'"dtype":"F32","shape":[1],"data_offsets":[4,0]', 4),
    (b'"dtype":"F32","shape":[-1],"data_offsets":[0,4]', 4), (b'"dtype":"F32","shape":[1.0],"data_offsets":[0,4]', 4),
    (b'"dtype":"F32","shape":[1e0],"data_offsets":[0,4]', 4), (b'"dtype":"F32","shape":[01],"data_offsets":[0,4]', 4),
    (b'"dtype":"F32","shape":[+1],"data_offsets":[0,4]', 4), (b'"dtype":"F32","shape":["1"],"data_offsets":[0,4]', 4),
    (b'"dtype":"F32","shape":1,"data_offsets":[0,4]', 4), (b'"dtype":"F32","shape":[1],"data_offsets":[0]', 4),
    (b'"dtype":"F32","shape":[1],"data_offsets":[0,4,4]', 4), (b'"dtype":"F32","shape":[1,],"data_offsets":[0,4]', 4),
    (b'"dtype":"F32","shape":[1]', 4), (b'"dtype":"F32","data_offsets":[0,4]', 4), (b'"shape":[1],"data_offsets":[0,4]', 4),
    (b'"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]', 4),
    (b'"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1', 4),
    (b'"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]', 0),
    (b'"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]', 0),
    (b'"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]', 0),
    (b'"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,0]', 0),
    (b'"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]', 0),
    (b'"dtype":"F4","shape":[3],"data_offsets":[0,1]', 1), (b'"dtype":"F4","shape":[2],"data_offsets":[0,1]', 1),
    (b'"\\u0064type":"F\\u0033\\u0032","shape":[ 1 ],"data_offsets":\t[0,\n4]', 4),
    (b'"dtype":"F32","shape":[],"data_offsets":[0,4]', 4), (b'"dtype":{"F32":null},"shape":[],"data_offsets":[0,4]', 4),
]] + [(b'{"' + name + b'":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1) for name in [
    b"", b"\\ud83d\\ude00", b"\\ud83d", b"\\ude00", b"\\ud83dx", b"\\u00e9", "é".encode(), b"\\x41", b"\\u12", b"a\nb", b"\\/",
    b"\\u0000", b"\x7f", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80"]]


def mutated(rng):
    header, data = base_header(rng)
    header = bytearray(header)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(header))
        match rng.randrange(7):
            case 0:
                header[at] ^= 1 << rng.randrange(8)
            case 1:
                del header[at:at + rng.randrange(1, 6)]
            case 2:
                header[at:at] = header[(b := rng.randrange(len(header))):b + rng.randrange(1, 30)]
            case 3:
                header[at:at] = rng.choice([b" ", b",", b"{", b"}", b"[", b"]", b'"', b":", b"0", b"1", b"-", b"\\u0041"])
            case 4:
                digits = [i for i, c in enumerate(header) if 48 <= c <= 57]
                header[rng.choice(digits)] = rng.choice(b"0123456789")
            case 5:
                data += rng.choice([-1, 1, 4])
            case 6:
                header = header[:at] if rng.random() < 0.3 else header + b" " * rng.randrange(4)
        if not header:
            break
    return bytes(header), max(0, data)


def verdicts():
    rng = random.Random(SEED + 1)
    cases = HAND + [base_header(rng) for _ in range(40)] + [mutated(rng) for _ in range(420)]
    return [{"header": base64.b64encode(h).decode(), "data": n, "accepted": accepts(h, n)} for h, n in cases]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, items in (("files.json", files()), ("verdicts.json", verdicts())):
        key = name.removesuffix(".json")
        text = '{"%s": [\n' % key + ",\n".join(json.dumps(item) for item in items) + "\n]}\n"
        (OUT / name).write_bytes(text.encode())
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    manifest = {"maker": "tools/golden/safetensors_files.py", "safetensors": safetensors.__version__, "seed": SEED,
                "sha256": digests}
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
