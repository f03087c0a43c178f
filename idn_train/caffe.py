"""The authors' weights: reads their .caffemodel files with protobuf's runtime, without Caffe."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from idn_data.recipe import SCALES
from idn_train.network import IDN

MAX_BYTES = 8 << 20  # the authors' files have 2.2 MB; a bound on the memory that a hostile one can claim

# The few fields of caffe.proto that hold weights: message -> (field, number, type, repeated). Names are bytes here,
# because protobuf strings must be valid UTF-8 and a damaged file need not be.
_FIELDS = {
    "BlobShape": [("dim", 1, "int64", True)],
    "BlobProto": [
        ("num", 1, "int32", False),  # these four in older files, in place of the shape
        ("channels", 2, "int32", False),
        ("height", 3, "int32", False),
        ("width", 4, "int32", False),
        ("data", 5, "float", True),
        ("shape", 7, "BlobShape", False),
    ],
    "ConvolutionParameter": [("stride", 6, "uint32", True)],
    "LayerParameter": [
        ("name", 1, "bytes", False),
        ("blobs", 7, "BlobProto", True),
        ("convolution_param", 106, "ConvolutionParameter", False),
    ],
    "NetParameter": [("layer", 100, "LayerParameter", True)],
}


@cache
def _net_parameter() -> Any:
    """The message class NetParameter, built from `_FIELDS`."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="idn_caffe.proto", package="idn_caffe", syntax="proto2")
    for message, fields in _FIELDS.items():
        descriptor = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = descriptor.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in _FIELDS:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".idn_caffe.{kind}"
            else:
                field.type = field_type.Type.Value(f"TYPE_{kind.upper()}")
                field.options.packed = name in ("data", "dim")  # a parser takes both forms
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("idn_caffe.NetParameter"))


def _caffe_names() -> dict[str, str]:
    """Module of `IDN` -> layer of the .caffemodel."""
    names = {"features.0": "conv1", "features.2": "conv2", "upsample": "upsample"}
    for block in range(4):
        for i in range(6):
            names[f"blocks.{block}.enhance{1 + i // 3}.{2 * (i % 3)}"] = f"conv{3 + block}_{1 + i}"
        names[f"blocks.{block}.compress.0"] = f"down{1 + block}"
    return names


def read_caffemodel(path: Path | str, scale: int | None = None) -> IDN:
    """Read one of the authors' weight files.

    Parameters
    ----------
    path : path
        A .caffemodel, as Caffe's protobuf.
    scale : {2, 3, 4}, optional
        The stride of the layer "upsample" by default. The blobs have the same shapes at every scale, so a file without
        its layers' parameters needs it.

    Returns
    -------
    IDN
        On the CPU, float32, in evaluation mode.

    Raises
    ------
    ValueError
        For a file that is missing, too large, damaged or not an IDN model, or that has another scale.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; the authors' IDN-Caffe repository has IDN_x2, _x3 and _x4.caffemodel")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes, an IDN model has about 2.2 million; name one of the authors' files")
    net = _net_parameter()()
    try:
        net.ParseFromString(path.read_bytes())
    except DecodeError:
        raise ValueError(f"{path}: not a .caffemodel, or damaged; download it again") from None
    layers = {layer.name: layer for layer in net.layer}
    scale = _find_scale(path, layers.get(b"upsample"), scale)
    network = IDN(scale)
    with torch.no_grad():
        for module, name in _caffe_names().items():
            layer = layers.get(name.encode())
            if layer is None or len(layer.blobs) != 2:
                raise ValueError(f"{path}: no layer {name!r} with weight and bias; name one of the authors' IDN models")
            for kind, blob in zip(("weight", "bias"), layer.blobs, strict=True):
                target = network.get_parameter(f"{module}.{kind}")
                shape = list(blob.shape.dim[:8]) or [blob.num, blob.channels, blob.height, blob.width]
                same = [n for n in shape if n != 1] == [n for n in target.shape if n != 1]  # old ones are padded with 1
                if not same or len(blob.data) != target.numel():
                    raise ValueError(
                        f"{path}: {kind} of layer {name!r} has shape {shape} and {len(blob.data)} values, "
                        f"IDN's is {list(target.shape)}; name one of the authors' IDN models"
                    )
                target.copy_(torch.tensor(blob.data, dtype=torch.float32).view(target.shape))
                if not torch.isfinite(target).all():
                    raise ValueError(f"{path}: {kind} of layer {name!r} holds NaN or infinity; download the file again")
    return network.eval()


def _find_scale(path: Path, upsample: Any, wanted: int | None) -> int:
    stored = list(upsample.convolution_param.stride[:1]) if upsample is not None else []
    if wanted is None and not stored:
        raise ValueError(f"{path}: does not say its scale; give it, one of {', '.join(map(str, SCALES))}")
    if stored and (stored[0] not in SCALES or wanted not in (None, stored[0])):
        allowed = f"not {wanted}" if stored[0] in SCALES else f"none of {', '.join(map(str, SCALES))}"
        raise ValueError(f"{path}: made for scale {stored[0]}, {allowed}; name the file of the scale you want")
    return wanted if wanted is not None else stored[0]
