"""Reads event files with TensorBoard's own loader, and prints what it finds: python check_tensorboard.py FILE_OR_FOLDER.

Needs PyPI's tensorboard (tried: 2.20.0). The loader checks both checksums of every record. Exit code 1 when there is no
scalar.
"""

import sys

import tensorboard
from tensorboard.backend.event_processing import event_accumulator


def main(path):
    everything = {kind: 0 for kind in (event_accumulator.SCALARS, event_accumulator.IMAGES, event_accumulator.TENSORS)}
    board = event_accumulator.EventAccumulator(path, size_guidance=everything)
    board.Reload()
    print(f"tensorboard {tensorboard.__version__}: {path}")
    tags = board.Tags()
    for tag in tags["scalars"]:
        print(f"  scalar {tag}: {[(event.step, event.value) for event in board.Scalars(tag)]}")
    for tag in tags["images"]:
        for image in board.Images(tag):
            print(f"  image {tag}: step {image.step}, {image.width} x {image.height}, "
                  f"{len(image.encoded_image_string)} bytes")
    for tag in tags["tensors"]:
        for tensor in board.Tensors(tag):
            print(f"  tensor {tag}: step {tensor.step}, {tensor.tensor_proto.string_val}")
    return 0 if tags["scalars"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
