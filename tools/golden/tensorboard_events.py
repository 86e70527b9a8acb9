"""Golden file for java/src/test/resources/org/smpo/report: an event file written with TensorBoard's messages and writer.

Made with Python 3.11, tensorboard 2.20.0. Run from anywhere: python tensorboard_events.py
The build and the tests do not run this script; they write the same events in Java and compare every byte.
"""

import hashlib
import pathlib

import tensorboard
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parents[2] / "java/src/test/resources/org/smpo/report"
PNG = HERE.parents[2] / "java/src/test/resources/org/smpo/io/images/pillow.png"


def plugin(name):
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=name))


def events():
    yield Event(wall_time=1763692800.5, file_version="brain.Event:2")
    tensor = TensorProto(dtype=7, tensor_shape=TensorShapeProto(), string_val=["    seed: 5\n    é: \u2713\n".encode()])
    yield Event(wall_time=1763692800.5, summary=Summary(value=[
        Summary.Value(tag="recipe", tensor=tensor, metadata=plugin("text"))]))
    for step in (0, 1, 127, 128, 300, 2**40):
        yield Event(wall_time=1763692800.5, step=step, summary=Summary(value=[
            Summary.Value(tag="loss/policy", simple_value=0.1 * step),
            Summary.Value(tag="loss/zero", simple_value=0.0),
            Summary.Value(tag="loss/nan", simple_value=float("nan")),
            Summary.Value(tag="loss/tiny", simple_value=-1e-40)]))
    png = PNG.read_bytes()
    width, height = (int.from_bytes(png[at:at + 4], "big") for at in (16, 20))
    yield Event(wall_time=1763692800.5, step=300, summary=Summary(value=[Summary.Value(
        tag="samples/a cat (0)", metadata=plugin("images"),
        image=Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png))]))


def main():
    assert tensorboard.__version__ == "2.20.0", tensorboard.__version__
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "golden.tfevents"
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in events():
            writer.write(event.SerializeToString())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (OUT / "MANIFEST").write_text(f"{digest}  {path.name}\n")


if __name__ == "__main__":
    main()
