"""The few bytes of a NIfTI file that ITK does not look after.

ITK fills a truncated NIfTI with zeros, and says nothing when a full disk cuts one that it
writes; and SimpleITK cannot mark a field as a displacement (intent 1006).
"""

from __future__ import annotations

import gzip
import math
import shutil
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

INTENT_DISPLACEMENT = 1006
_INTENT_OFFSET = 68
_CHUNK = 1 << 20
_LEVEL = 4


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a single-file NIfTI."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def describe_damage(path: Path) -> str | None:
    """Say how a NIfTI file is damaged or cut short, or `None` if all of its voxels are there."""
    try:
        with _opened(path) as file:
            wanted = _wanted_bytes(file.read(540))
            if wanted is None:
                return None  # not a NIfTI after all: ITK decides
            file.seek(0)
            found = _count_bytes(file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return f"its compressed data are damaged ({error})"
    if found < wanted:
        return f"it holds {found} of the {wanted} bytes that its header announces"
    return None


def mark_displacement(path: Path) -> None:
    """Set the intent of an unpacked NIfTI-1 file written here to displacement vectors (1006)."""
    with open(path, "rb+") as file:
        file.seek(_INTENT_OFFSET)
        file.write(struct.pack("=h", INTENT_DISPLACEMENT))


def pack(plain: Path, packed: Path) -> None:
    """Compress a file; the same content gives the same bytes."""
    with (
        open(plain, "rb") as source,
        open(packed, "wb") as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as target,
    ):
        shutil.copyfileobj(source, target, _CHUNK)


def _opened(path: Path) -> BinaryIO:
    """The file, unpacked if its first bytes say that it is packed."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else open(path, "rb")


def _count_bytes(file: BinaryIO) -> int:
    """Bytes to the end of the file; a packed file checks its own sum on the way."""
    count = 0
    while chunk := file.read(_CHUNK):
        count += len(chunk)
    return count


def _wanted_bytes(header: bytes) -> int | None:
    """Bytes that a NIfTI-1 or -2 header announces, or `None` if it is no such header."""
    if len(header) < 348:
        return None
    for order in "<>":
        length = struct.unpack_from(order + "i", header)[0]
        if length == 348 and header[344:347] == b"n+1":
            dims = struct.unpack_from(order + "8h", header, 40)
            bits = struct.unpack_from(order + "h", header, 72)[0]
            start = struct.unpack_from(order + "f", header, 108)[0]
        elif length == 540 and len(header) == 540:
            dims = struct.unpack_from(order + "8q", header, 16)
            bits = struct.unpack_from(order + "h", header, 14)[0]
            start = struct.unpack_from(order + "q", header, 168)[0]
        else:
            continue
        voxels = math.prod(max(1, count) for count in dims[1 : 1 + min(7, max(0, dims[0]))])
        return int(start) + voxels * bits // 8
    return None
