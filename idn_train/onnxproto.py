"""ONNX files byte by byte: the few messages of Protocol Buffers that a model of constants and operators takes.

No package is needed to write them. Numbers of fields and types are those of ONNX's own ``onnx.proto``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Attribute: TypeAlias = "int | float | str | Sequence[int]"

IR_VERSION = 8  # of 2021, as the engines of the operators' time read it
TYPES = {"float32": 1, "uint8": 2, "int64": 7, "float16": 10}  # TensorProto.DataType
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7  # AttributeProto.AttributeType


@dataclass(frozen=True)
class Node:
    """An operator: its kind, the names of its inputs and outputs, and its attributes."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Attribute], ...] = ()


@dataclass(frozen=True)
class Value:
    """An input or output of a model: a name, a dtype, and a length or the name of one for each axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def _encode_number(value: int) -> bytes:
    """A whole number in groups of 7 bits, the lowest first; negative ones as 64 bits in two's complement."""
    value &= (1 << 64) - 1
    groups = []
    while True:
        group, value = value & 127, value >> 7
        groups.append(group | (128 if value else 0))
        if not value:
            return bytes(groups)


def _encode_field(number: int, value: int | float | str | bytes) -> bytes:
    """A field: its number, how the value is written, and the value."""
    if isinstance(value, int):
        return _encode_number(number << 3) + _encode_number(value)
    if isinstance(value, float):
        return _encode_number(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _encode_number(number << 3 | 2) + _encode_number(len(data)) + data


def _encode_tensor(name: str, values: NDArray[Any]) -> bytes:
    fields = [_encode_field(1, length) for length in values.shape]
    fields += [_encode_field(2, TYPES[values.dtype.name]), _encode_field(8, name)]
    return b"".join([*fields, _encode_field(9, values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())])


def _encode_attribute(name: str, value: Attribute) -> bytes:
    head = _encode_field(1, name)
    if isinstance(value, float):
        return head + _encode_field(2, value) + _encode_field(20, _FLOAT)
    if isinstance(value, int):
        return head + _encode_field(3, value) + _encode_field(20, _INT)
    if isinstance(value, str):
        return head + _encode_field(4, value) + _encode_field(20, _STRING)
    return head + b"".join(_encode_field(8, item) for item in value) + _encode_field(20, _INTS)


def _encode_node(node: Node) -> bytes:
    fields = [_encode_field(1, name) for name in node.inputs] + [_encode_field(2, name) for name in node.outputs]
    fields += [_encode_field(4, node.kind)]
    return b"".join(fields + [_encode_field(5, _encode_attribute(name, value)) for name, value in node.attributes])


def _encode_value(value: Value) -> bytes:
    lengths = [_encode_field(1, n) if isinstance(n, int) else _encode_field(2, n) for n in value.shape]
    shape = b"".join(_encode_field(1, length) for length in lengths)
    tensor = _encode_field(1, TYPES[value.dtype]) + _encode_field(2, shape)
    return _encode_field(1, value.name) + _encode_field(2, _encode_field(1, tensor))


def encode_model(
    name: str,
    nodes: Sequence[Node],
    constants: Mapping[str, NDArray[Any]],
    source: Value,
    result: Value,
    *,
    opset: int,
    facts: Mapping[str, str],
) -> bytes:
    """The bytes of a model file.

    Parameters
    ----------
    name : str
        Of the graph.
    nodes : sequence of Node
        In an order in which they can be computed.
    constants : mapping of str to array
        float32, float16, int64 or uint8.
    source, result : Value
        The model's one input and one output.
    opset : int
        Version of the operators.
    facts : mapping of str to str
        What the file says of itself.

    Returns
    -------
    bytes
        A ModelProto.

    Raises
    ------
    KeyError
        A dtype that is not in `TYPES`.
    """
    graph = [_encode_field(1, _encode_node(node)) for node in nodes] + [_encode_field(2, name)]
    graph += [_encode_field(5, _encode_tensor(key, values)) for key, values in constants.items()]
    graph += [_encode_field(11, _encode_value(source)), _encode_field(12, _encode_value(result))]
    operators = _encode_field(1, "") + _encode_field(2, opset)
    model = [_encode_field(1, IR_VERSION), _encode_field(2, "idn"), _encode_field(7, b"".join(graph))]
    model += [_encode_field(8, operators)]
    model += [_encode_field(14, _encode_field(1, key) + _encode_field(2, text)) for key, text in facts.items()]
    return b"".join(model)
