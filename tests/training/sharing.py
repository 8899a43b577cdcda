"""A checkpoint as TensorFlow reads it, whose tensors all lie at the same place.

The index is a table of LevelDB's format with one block of entries; see
`tensorflow/core/protobuf/tensor_bundle.proto`.
"""

import pathlib
import struct

import tensorflow as tf


def write_sharing(folder: pathlib.Path, *, tensors: int, size: int) -> str:
    """Write a checkpoint of so many float32 tensors, and return its path."""
    path = str(folder / "ckpt-1")
    key = "variables/{}/.ATTRIBUTES/VARIABLE_VALUE"
    text = f'{{"variables": {tensors}, "state": null}}'
    first, graph = key.format(0), "_CHECKPOINTABLE_OBJECT_GRAPH"
    names = [first, "state/.ATTRIBUTES/py_state", graph]
    tf.raw_ops.SaveV2(
        prefix=path,
        tensor_names=names,
        shape_and_slices=[""] * 3,
        tensors=[tf.zeros(size), tf.constant(text), tf.constant("")],
    )
    index = pathlib.Path(f"{path}.index")
    entries = dict(_entries(index.read_bytes()))
    for number in range(tensors):
        entries[key.format(number).encode()] = entries[first.encode()]
    index.write_bytes(_table(entries))
    return path


def _entries(table: bytes):
    """Yield what is in a table whose first block holds all."""
    footer = table[-48:]
    _, at = _read(footer, 0)  # the metaindex: offset, then size
    _, at = _read(footer, at)
    offset, _ = _read(footer, at)
    begin, at = _read(table, _value_of_first(table, offset))
    size, _ = _read(table, at)
    block, at, name = table[begin : begin + size], 0, b""
    (restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 - 4 * restarts
    while at < end:
        shared, at = _read(block, at)
        rest, at = _read(block, at)
        length, at = _read(block, at)
        name = name[:shared] + block[at : at + rest]
        at += rest
        yield name, block[at : at + length]
        at += length


def _value_of_first(table: bytes, at: int) -> int:
    """Return where the value of the first entry of a block begins."""
    _, at = _read(table, at)
    rest, at = _read(table, at)
    _, at = _read(table, at)
    return at + rest


def _table(entries: dict[bytes, bytes]) -> bytes:
    blocks, handles = b"", []
    for items in (sorted(entries.items()), []):
        block = b"".join(_entry(*item) for item in items) + struct.pack("<II", 0, 1)
        handles.append(_varint(len(blocks)) + _varint(len(block)))
        blocks += _with_sum(block)
    block = _entry(max(entries), handles[0]) + struct.pack("<II", 0, 1)
    handles.append(_varint(len(blocks)) + _varint(len(block)))
    blocks += _with_sum(block)
    footer = (handles[1] + handles[2]).ljust(40, b"\0")
    return blocks + footer + struct.pack("<Q", 0xDB4775248B80FB57)


def _entry(name: bytes, value: bytes) -> bytes:
    return _varint(0) + _varint(len(name)) + _varint(len(value)) + name + value


def _with_sum(block: bytes) -> bytes:
    """Return a block, not compressed, with its masked CRC-32C."""
    content, crc = block + b"\0", 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return content + struct.pack("<I", masked)


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def _read(content: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    number, shift = 0, 0
    while content[at] > 127:
        number |= (content[at] & 127) << shift
        shift, at = shift + 7, at + 1
    return number | content[at] << shift, at + 1
