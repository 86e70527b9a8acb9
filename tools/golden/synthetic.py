"""Weights and inputs that Python, C++ and Java generate identically, so that golden files hold results only.

Element i of the tensor called NAME is s(i) = 2 u(i) - 1, where u(i) = (word i of Philox4x32-10 >> 8) * 2^-24; key = SEED,
counter = (i / 4, item mod 2^32, 0, 255 << 24 | item >> 32), item = FNV-1a-64 of NAME mod 2^56. Then, by shape:
  two dimensions or more   s * sqrt(3 / fan_in)   unit gain: fan_in is the product of all dimensions but the first
  one, NAME ends .weight   1 + 0.1 s              gains of norms
  one otherwise            0.1 s                  biases
Every operation is exact or a single float32 rounding, so the values are the same bits everywhere.
"""

import hashlib
from pathlib import Path

import numpy as np

SEED = 42
PURPOSE = 255


def fnv1a(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value & ((1 << 56) - 1)


def philox(counter, key):
    """Philox4x32-10 of arrays: counter 4 x [n] uint32, key 2 ints; gives [n, 4] uint32."""
    c = [np.asarray(x, dtype=np.uint64) for x in counter]
    k0, k1 = key
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0),
            p1 & mask,
            (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1),
            p0 & mask,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=-1).astype(np.uint32)


def uniform(name, count):
    """s(0..count) in [-1, 1), float32."""
    item = fnv1a(name)
    blocks = (count + 3) // 4
    n = np.ones(blocks, dtype=np.uint64)
    counter = (np.arange(blocks), n * (item & 0xFFFFFFFF), n * 0, n * ((PURPOSE << 24) | (item >> 32)))
    words = philox(counter, (SEED & 0xFFFFFFFF, SEED >> 32)).reshape(-1)[:count]
    return (words >> 8).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def tensor(name, shape):
    """A weight or an input by the rule above."""
    s = uniform(name, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    if len(shape) >= 2:
        return s * np.sqrt(np.float32(3) / np.float32(np.prod(shape[1:])))
    if name.endswith(".weight"):
        return np.float32(1) + np.float32(0.1) * s
    return np.float32(0.1) * s


def normal_like(name, shape):
    """Returns an input with a variance of about 1: s * sqrt(3)."""
    return uniform(name, int(np.prod(shape, dtype=np.int64))).reshape(shape) * np.sqrt(np.float32(3))


def normals(count, purpose, step, item):
    """Standard normal numbers as native/src/kernels/philox_normal.h defines them, float64; seed 0, item below 2^32."""
    blocks = (count + 3) // 4
    n = np.ones(blocks, dtype=np.uint64)
    words = philox((np.arange(blocks), n * item, n * step, n * (purpose << 24)), (0, 0)).reshape(-1, 2)
    u = ((words[:, 0].astype(np.float64) + 0.5) * 2.0**-32).astype(np.float32).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * words[:, 1].astype(np.float64) * 2.0**-32
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]


def draw_prefix(case, draw):
    """Prefix of the names of a case's inputs. Draw 0 is the case itself; other draws have the same shapes and other values."""
    return f"case{case}." if draw == 0 else f"case{case}.draw{draw}."


def relative_error(value, wanted):
    """|value - wanted| / |wanted| of torch tensors, in float64."""
    return float((value.double() - wanted.double()).norm() / wanted.double().norm())


def root_mean_squares(errors):
    """Returns the root mean square per key over dicts with the same keys, to three digits."""
    return {n: float(f"{np.sqrt(np.mean([e[n] ** 2 for e in errors])):.3g}") for n in errors[0]}


def fill(module, name_on_disk=lambda name: name):
    """Sets every parameter of a torch module by its name in a checkpoint."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(np.asarray(tensor(name_on_disk(name), tuple(parameter.shape)))))
    return module


def write_sums(folder):
    """SHA256SUMS of a folder of golden files, which tools/lint checks."""
    folder = Path(folder)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != "SHA256SUMS"
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    # Known answers of Random123 for philox4x32-10.
    known = [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ]
    for counter, key, words in known:
        got = " ".join(f"{w:08x}" for w in philox([[c] for c in counter], key)[0])
        assert got == words, (got, words)
    print("ok", tensor("unet.conv_in.weight", (2, 3))[0], fnv1a("conv_in.weight"))
