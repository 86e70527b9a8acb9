"""Small files saved by torch 2.11.0, and files that a tensor reader must refuse.

    python tools/golden/torch_file.py     writes java/src/test/resources/org/smpo/io/torch/

tensors.pth: a state dict of float32, float16, bfloat16, float64, int64 and int32 tensors, one of them transposed and one
a view into another's storage. checkpoint.ckpt: the same under `state_dict`, next to numbers and strings. parameters.pth:
torch.nn.Parameters in a nested dictionary. exec.pth: a pickle that names os.system. compressed.pth: tensors.pth with
deflated entries. legacy.pt: the format before torch 1.6. expanded.pth: a tensor of stride 0.
values.safetensors: all tensors of tensors.pth by their names, contiguous.
"""

import collections
import io
import os
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/io/torch"


def tensors():
    torch.manual_seed(0)
    base = torch.randn(3, 4)
    whole = torch.randn(10)
    return collections.OrderedDict(
        [
            ("a.weight", base),
            ("a.transposed", torch.randn(5, 2).t()),
            ("half", torch.randn(2, 3).half()),
            ("bfloat", torch.randn(7).bfloat16()),
            ("double", torch.randn(2, 2, 2).double()),
            ("long", torch.tensor([-(2**40), 0, 7])),
            ("int", torch.tensor([[1, -2], [3, 4]], dtype=torch.int32)),
            ("whole", whole),
            ("part", whole[3:7]),
            ("scalar", torch.tensor(1.5)),
            ("empty", torch.zeros(0, 3)),
        ]
    )


class Exec:
    def __reduce__(self):
        return os.system, ("true",)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    state = tensors()
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    torch.save(state, OUT / "tensors.pth")
    torch.save({"epoch": 3, "loss": 0.25, "name": "x", "big": 2**40, "state_dict": state}, OUT / "checkpoint.ckpt")
    torch.save({"model": {"w": torch.nn.Parameter(torch.ones(2, 2))}, "list": [torch.zeros(1)]}, OUT / "parameters.pth")
    torch.save({"w": torch.zeros(1), "x": Exec()}, OUT / "exec.pth")
    torch.save(state, OUT / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"w": torch.ones(1).expand(5)}, OUT / "expanded.pth")
    with zipfile.ZipFile(OUT / "tensors.pth") as old, zipfile.ZipFile(OUT / "compressed.pth", "w") as new:
        for item in old.infolist():
            new.writestr(zipfile.ZipInfo(item.filename), old.read(item), zipfile.ZIP_DEFLATED)
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, OUT / "values.safetensors")
    names = sorted(path.name for path in OUT.iterdir() if path.name != "SHA256SUMS")
    import hashlib

    (OUT / "SHA256SUMS").write_text(
        "".join(f"{hashlib.sha256((OUT / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    )


main()
