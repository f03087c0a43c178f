"""The authors' weights: .caffemodel files as numpy arrays, by protobuf's runtime, without Caffe or torch."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from idn_data.patches.recipe import SCALES
from idn_data.reading import read_bounded
from idn_train.architecture import BLOCKS, list_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 8 << 20  # the authors' files have 2.2 MB; a bound on the memory that a hostile one can claim

_NAMES = (
    "conv1",
    "conv2",
    *(name for k in range(BLOCKS) for name in (*(f"conv{k + 3}_{i}" for i in range(1, 7)), f"down{k + 1}")),
    "upsample",
)
# Layers in the order of the network, with the shape of the weight.
SHAPES = {name: layer.shape for name, layer in zip(_NAMES, list_layers(), strict=True)}

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


def read_caffemodel(path: Path | str) -> tuple[int | None, dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """Read one of the authors' weight files.

    Parameters
    ----------
    path : path
        A .caffemodel, as Caffe's protobuf.

    Returns
    -------
    scale : {2, 3, 4} or None
        The stride of the layer "upsample"; None where the file leaves out its layers' parameters. The blobs have the
        same shapes at every scale.
    layers : dict
        Weight and bias of each layer of `SHAPES`, in that order; float32, finite.

    Raises
    ------
    ValueError
        For a file that is missing, a folder, not permitted, empty, too large, of another format, cut off, damaged, or
        another network: a message for each.
    """
    path = Path(path)
    data = read_bounded(
        path,
        MAX_BYTES,
        "the authors' IDN-Caffe repository has IDN_x2, _x3 and _x4.caffemodel",
        "an IDN model has about 2.2 million; name one of the authors' files",
    )
    net = _net_parameter()()
    try:
        net.ParseFromString(data)
    except DecodeError:
        raise ValueError(f"{path}: {_explain_failure(data)}") from None
    layers = {layer.name: layer for layer in net.layer}
    upsample = layers.get(b"upsample")
    stride = list(upsample.convolution_param.stride[:1]) if upsample is not None else []
    if stride and stride[0] not in SCALES:
        allowed = ", ".join(map(str, SCALES))
        raise ValueError(f"{path}: made for scale {stride[0]}, none of {allowed}; name the file of the scale you want")
    return stride[0] if stride else None, {name: _read_layer(path, name, layers.get(name.encode())) for name in SHAPES}


def _explain_failure(data: bytes) -> str:
    """Why these bytes are no message: another format, cut off, or damaged within a layer."""
    at, known = 0, {1, 2, 3, 4, 5, 6, 7, 8, 100}  # the fields of a network in caffe.proto
    while at < len(data):
        key, at = _read_varint(data, at)
        if key & 7 not in (0, 2) or key >> 3 not in known:
            return "not a .caffemodel; name one of the authors' files" if at < 4 else "damaged; download it again"
        size, at = _read_varint(data, at)
        at += size if key & 7 == 2 else 0
    return "cut off within a layer; download it again" if at > len(data) else "damaged; download it again"


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of protobuf, seven bits a byte, and where the next begins: beyond the end where it is cut off."""
    value = shift = 0
    while shift < 70:
        byte = data[at] if at < len(data) else 0
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            break
    return value, at


def _read_layer(path: Path, name: str, layer: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if layer is None or len(layer.blobs) != 2:
        raise ValueError(f"{path}: no layer {name!r} with weight and bias; name one of the authors' IDN models")
    arrays, outputs = [], SHAPES[name][1 if name == "upsample" else 0]
    for kind, wanted, blob in zip(("weight", "bias"), (SHAPES[name], (outputs,)), layer.blobs, strict=True):
        shape = list(blob.shape.dim[:8]) or [blob.num, blob.channels, blob.height, blob.width]
        same = [n for n in shape if n != 1] == [n for n in wanted if n != 1]  # old ones are padded with 1
        if not same or len(blob.data) != math.prod(wanted):
            raise ValueError(
                f"{path}: {kind} of layer {name!r} has shape {shape} and {len(blob.data)} values, "
                f"IDN's is {list(wanted)}; name one of the authors' IDN models"
            )
        arrays.append(np.array(blob.data, np.float32).reshape(wanted))  # they are stored as float32
        if not np.isfinite(arrays[-1]).all():
            raise ValueError(f"{path}: {kind} of layer {name!r} holds NaN or infinity; download the file again")
    return arrays[0], arrays[1]
