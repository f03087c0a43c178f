"""Files as Caffe writes them, byte by byte, with random weights."""

import struct

import numpy as np

Blobs = dict[str, tuple[np.ndarray, ...]]


# layer -> shape of its weight, as in the authors' files
SHAPES = {"conv1": (64, 1, 3, 3), "conv2": (64, 64, 3, 3)}
for _block in range(4):
    for _i, _shape in enumerate([(48, 64), (32, 12), (64, 32), (64, 48), (48, 16), (80, 48)], start=1):
        SHAPES[f"conv{_block + 3}_{_i}"] = (*_shape, 3, 3)
    SHAPES[f"down{_block + 1}"] = (64, 80, 1, 1)
SHAPES["upsample"] = (64, 1, 17, 17)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of protobuf's wire format."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode_blob(values: np.ndarray, legacy: bool) -> bytes:
    data = struct.pack(f"<{values.size}f", *values.ravel().tolist())
    if legacy:  # num, channels, height, width in fields 1 to 4
        shape = (1,) * (4 - values.ndim) + tuple(values.shape)
        return b"".join(varint(i << 3) + varint(n) for i, n in enumerate(shape, start=1)) + field(5, data)
    return field(5, data) + field(7, field(1, b"".join(map(varint, values.shape))))


def encode_layer(name: str, blobs: tuple[np.ndarray, ...], stride: int | None = None, legacy: bool = False) -> bytes:
    out = field(1, name.encode()) + field(2, b"Convolution")
    out += b"".join(field(7, encode_blob(blob, legacy)) for blob in blobs)
    if stride is not None:
        out += field(106, varint(1 << 3) + varint(1) + varint(6 << 3) + varint(stride))
    return field(100, out)


def encode_net(blobs: Blobs, stride: int | None = 3, legacy: bool = False) -> bytes:
    layers = [encode_layer(n, b, stride if n == "upsample" else 1, legacy) for n, b in blobs.items()]
    return field(1, b"DPFN") + field(100, field(1, b"data") + field(2, b"HDF5Data")) + b"".join(layers)


def draw_blobs() -> Blobs:
    """Random weights and biases of every layer, float32, of a size that keeps signals as they are."""
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        bias = rng.normal(0, 0.1, 1 if shape[3] == 17 else shape[0])
        return (rng.normal(0, np.prod(shape[1:]) ** -0.5, shape)).astype(np.float32), bias.astype(np.float32)

    return {name: draw(shape) for name, shape in SHAPES.items()}
