"""Image files of many kinds, and their pixels as decoded by Pillow 13.0.0 with convert("RGB").

    python tools/golden/decode.py    writes java/src/test/resources/org/smpo/io/decode/

decode.json: a list of {name, file: base64, size: [w, h], rgb: base64} and, for a file that Pillow refuses,
{name, file, error: its message}.
viewer.json: WebP files with metadata that a viewer applies, a list of {name, file: base64, orientation, opacity: base64}
and of {name, file, error}.
"""

import base64
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

RESOURCES = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/io/decode"
W, H = 43, 30


def pattern(width=W, height=H, channels=3):
    """Returns a gradient with an edge and noise, which exercises every part of a decoder."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for c in range(channels):
        plane = (x * (5 - c) + y * (3 + c)) % 256 + 90 * ((x - 20) ** 2 + (y - 15) ** 2 < 81)
        planes.append(plane + rng.integers(-12, 13, (height, width)))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def saved(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def chunk(kind, data, crc=None):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body) if crc is None else crc)


def png(depth, color, rows, *extra, width=W, height=H, interlace=0):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def pngs():
    rgb = Image.fromarray(pattern())
    gray = rgb.convert("L")
    alpha = Image.fromarray(pattern(channels=4), "RGBA")
    yield "png rgb", saved(rgb, "PNG")
    yield "png gray", saved(gray, "PNG")
    yield "png 1 bit", saved(gray.convert("1"), "PNG")
    yield "png gray alpha", saved(alpha.convert("LA"), "PNG")
    yield "png rgba", saved(alpha, "PNG")
    yield "png palette", saved(rgb.quantize(40), "PNG")
    yield "png palette 16 colours", saved(rgb.quantize(16), "PNG", bits=4)
    yield "png palette transparent", saved(rgb.quantize(20), "PNG", transparency=3)
    yield "png rgb with a transparent colour", saved(rgb, "PNG", transparency=(1, 2, 3))
    yield "png with exif orientation", saved(rgb, "PNG", exif=exif(6))
    yield "png with gamma and a profile", with_chunk(
        saved(rgb, "PNG", icc_profile=b"\0" * 200), chunk(b"gAMA", struct.pack(">I", 100000))
    )
    wide = np.asarray(pattern(), np.uint16) * 256 + 200
    yield "png 16 bit rgb", png(16, 2, [wide[y].astype(">u2").tobytes() for y in range(H)])
    wide = np.asarray(pattern(channels=4), np.uint16) * 256 + 100
    yield "png 16 bit rgba", png(16, 6, [wide[y].astype(">u2").tobytes() for y in range(H)])
    gray16 = (np.arange(W * H, dtype=np.uint32).reshape(H, W) * 65535 // (W * H)).astype(np.uint16)
    yield "png 16 bit gray", png(16, 0, [gray16[y].astype(">u2").tobytes() for y in range(H)])
    la16 = np.stack([gray16, gray16[::-1]], -1)
    yield "png 16 bit gray alpha", png(16, 4, [la16[y].astype(">u2").tobytes() for y in range(H)])
    low = pattern(channels=1)[..., 0] >> 6
    packed = [np.packbits(np.unpackbits(low[y][:, None], axis=1)[:, 6:].reshape(-1)).tobytes() for y in range(H)]
    yield "png 2 bit gray", png(2, 0, packed)
    short = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    yield "png palette with indices beyond it", png(2, 3, packed, short)
    yield "png interlaced", saved_interlaced()


def saved_interlaced():
    rgb = pattern(17, 11)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [rgb[y, x0::dx].tobytes() for x0, y0, dx, dy in passes for y in range(y0, 11, dy) if rgb[y, x0::dx].size]
    return png(8, 2, rows, width=17, height=11, interlace=1)


def with_chunk(data, extra):
    return data[:33] + extra + data[33:]


def exif(orientation):
    values = Image.Exif()
    values[0x0112] = orientation
    return values


def jpegs():
    rgb = Image.fromarray(pattern())
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"jpeg {name}", saved(rgb, "JPEG", quality=90, subsampling=subsampling)
    yield "jpeg 420 progressive", saved(rgb, "JPEG", quality=75, subsampling=2, progressive=True)
    yield "jpeg 420 low quality", saved(rgb, "JPEG", quality=15, subsampling=2)
    yield "jpeg 420 large", saved(Image.fromarray(pattern(131, 97)), "JPEG", quality=85, subsampling=2)
    yield "jpeg 422 one column", saved(Image.fromarray(pattern(1, 9)), "JPEG", quality=85, subsampling=1)
    yield "jpeg 420 two columns", saved(Image.fromarray(pattern(2, 2)), "JPEG", quality=85, subsampling=2)
    yield "jpeg 440", vertical()
    yield "jpeg gray", saved(rgb.convert("L"), "JPEG", quality=90)
    yield "jpeg cmyk", saved(Image.fromarray(pattern(channels=4), "CMYK"), "JPEG", quality=90)
    yield "jpeg with exif orientation", saved(rgb, "JPEG", quality=90, exif=exif(6))
    yield "jpeg with a profile that is none", saved(rgb, "JPEG", quality=90, icc_profile=b"no profile" * 30)
    yield "jpeg stored as rgb", saved(rgb, "JPEG", quality=90, keep_rgb=True)
    yield "jpeg restart markers", saved(rgb, "JPEG", quality=90, restart_marker_blocks=2)
    plain = saved(rgb, "JPEG", quality=90)
    yield "jpeg with bytes after its end", plain + b"\0" * 100
    # Without JFIF the component ids determine the colour space.
    yield "jpeg without jfif", plain[:2] + plain[4 + struct.unpack(">H", plain[4:6])[0] :]


def vertical():
    """4:4:0, which Pillow does not write: a 4:2:2 file whose header says that rows, not columns, are halved. Its blocks
    stand in another order then; what matters is only what decoders make of the same file."""
    side = 48
    data = bytearray(saved(Image.fromarray(pattern(side, side)), "JPEG", quality=90, subsampling=1))
    at = data.index(b"\xff\xc0")
    assert data[at + 11] == 0x21
    data[at + 11] = 0x12
    return bytes(data)


def webps():
    rgb = Image.fromarray(pattern())
    alpha = Image.fromarray(pattern(channels=4), "RGBA")
    yield "webp lossless", saved(rgb, "WEBP", lossless=True)
    yield "webp lossless alpha", saved(alpha, "WEBP", lossless=True, exact=True)
    yield "webp lossy", saved(rgb, "WEBP", quality=80)
    yield "webp lossy large", saved(Image.fromarray(pattern(131, 97)), "WEBP", quality=80)
    yield "webp lossy alpha", saved(alpha, "WEBP", quality=80, exact=True)
    yield "webp lossless with a profile", saved(rgb, "WEBP", lossless=True, icc_profile=b"no profile" * 30)


def broken():
    rgb = Image.fromarray(pattern())
    plain = saved(rgb, "PNG")
    jpeg = saved(rgb, "JPEG", quality=90)
    progressive = saved(rgb, "JPEG", quality=90, progressive=True)
    webp = saved(rgb, "WEBP", lossless=True)
    yield "nothing", b""
    yield "text", b"this is no picture, whatever its name says"
    yield "a page", b"<!DOCTYPE html><html><body>404</body></html>"
    yield "png cut in its data", plain[: len(plain) // 2]
    yield "png cut in its header", plain[:20]
    yield "png signature alone", plain[:8]
    yield "png with a flipped bit in its header", plain[:19] + bytes([plain[19] ^ 1]) + plain[20:]
    yield "png without data", plain[:33] + chunk(b"IEND", b"")
    yield "png of no width", png(8, 2, [], width=0)
    yield "png of 3 bits", png(3, 0, [b"\0" * 20] * H)
    yield "png that claims 60000 x 60000", png(8, 2, [b"\0" * 9], width=60000, height=60000)
    yield "jpeg cut in its data", jpeg[: len(jpeg) * 2 // 3]
    yield "jpeg cut in its header", jpeg[:100]
    yield "jpeg without its end", jpeg[:-2]
    yield "jpeg progressive cut", progressive[: len(progressive) * 2 // 3]
    yield "jpeg start alone", jpeg[:3]
    frame = jpeg.index(b"\xff\xc0")
    yield "jpeg that claims 65000 x 65000", jpeg[: frame + 5] + b"\xfd\xe8\xfd\xe8" + jpeg[frame + 9 :]
    yield "webp cut", webp[: len(webp) // 2]
    yield "webp header alone", webp[:12]


def viewed():
    """WebP files with opacity of every kind, or with an orientation."""
    image = Image.fromarray(pattern())
    y, x = np.mgrid[0:H, 0:W]
    noise = np.random.default_rng(3).integers(0, 256, (H, W))
    planes = dict(disc=255 * ((x - 20) ** 2 + (y - 15) ** 2 < 81), slope=(x * 4 + y * 2) % 256, noise=noise)
    for name, plane in planes.items():
        image.putalpha(Image.fromarray(plane.astype(np.uint8)))
        for quality in (100, 40):
            yield f"{name} {quality}", saved(image, "WEBP", quality=80, alpha_quality=quality)
        # The four filters, without compression.
        for number in range(4):
            yield f"{name} filter {number}", with_opacity(saved(image, "WEBP", quality=80), plane, number)
    yield "opacity cut", with_opacity(saved(image, "WEBP", quality=80), noise, 0, cut=7)
    yield "opacity of an unknown compression", with_opacity(saved(image, "WEBP", quality=80), noise, 0, compression=2)
    rgb = image.convert("RGB")
    for orientation in range(1, 9):
        yield f"orientation {orientation}", saved(rgb, "WEBP", lossless=orientation % 2 == 0, exif=exif(orientation))
    marked = exif(6).tobytes()
    yield "orientation with JPEG's mark", saved(rgb, "WEBP", exif=b"Exif\0\0" + marked.removeprefix(b"Exif\0\0"))


def with_opacity(webp, plane, number, compression=0, cut=0):
    """Replaces the opacity of a WebP file: samples minus their predictions by a filter."""
    plane = plane.astype(int)
    predicted = np.zeros_like(plane)
    predicted[0, 1:] = plane[0, :-1]
    predicted[1:, 0] = plane[:-1, 0]
    left, above, corner = plane[1:, :-1], plane[:-1, 1:], plane[:-1, :-1]
    predicted[1:, 1:] = {0: 0, 1: left, 2: above, 3: np.clip(left + above - corner, 0, 255)}[number]
    stored = ((plane - (predicted if number else 0)) % 256).astype(np.uint8).tobytes()
    content = bytes([compression | number << 2]) + stored[: len(stored) - cut]
    chunks, at = b"", 12
    while at < len(webp):
        kind, length = webp[at : at + 4], struct.unpack("<I", webp[at + 4 : at + 8])[0]
        data = content if kind == b"ALPH" else webp[at + 8 : at + 8 + length]
        chunks += kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        at += 8 + length + length % 2
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def viewer_verdict(name, data):
    item = dict(name=name, file=base64.b64encode(data).decode())
    try:
        image = Image.open(io.BytesIO(data))
        opacity = image.convert("RGBA").getchannel("A").tobytes()
        item.update(orientation=image.getexif().get(0x0112, 1), opacity=base64.b64encode(opacity).decode())
    except Exception as e:  # Pillow raises many kinds
        item.update(error=f"{type(e).__name__}: {e}".split(" <_io")[0])
    return item


def verdict(name, data):
    item = dict(name=name, file=base64.b64encode(data).decode())
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        item.update(size=list(image.size), rgb=base64.b64encode(image.tobytes()).decode())
    except Exception as e:  # Pillow raises many kinds
        item.update(error=f"{type(e).__name__}: {e}".split(" <_io")[0])
    return item


def main():
    items = [verdict(name, data) for make in (pngs, jpegs, webps, broken) for name, data in make()]
    RESOURCES.mkdir(parents=True, exist_ok=True)
    views = [viewer_verdict(name, data) for name, data in viewed()]
    sums = ""
    for name, content in (("decode.json", items), ("viewer.json", views)):
        file = RESOURCES / name
        file.write_text(json.dumps(content, indent=0) + "\n")
        sums += f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
    (RESOURCES / "SHA256SUMS").write_text(sums)
    for item in items + views:
        print(item["name"], len(item["file"]), item.get("error", item.get("size", item.get("orientation"))))


if __name__ == "__main__":
    main()
