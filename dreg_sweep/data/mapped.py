"""Arrays of an .npz file mapped into memory: processes that use one file share what the page cache holds of it."""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dreg_sweep.data.arrays import Arrays, read_npz

_SIZES_AT, _SIZES_END = 26, 30  # of the name and of the extra field, in the header before a member of a zip file


def map_npz(path: Path) -> Arrays:
    """Every array of the file, read-only, its checksum tested as it is when read.

    For files that are only ever replaced whole: one that is written over under a training would change its data.
    What cannot be mapped, such as a compressed file, is read. Errors: those of `read_npz`.
    """
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            pages = np.memmap(file, np.uint8, "r")
            members = archive.infolist()
            return {member.filename.removesuffix(".npy"): _array(member, file, pages) for member in members}
    except Exception:  # read_npz can do without mapping, or says what is wrong
        return read_npz(path)


def _array(member: zipfile.ZipInfo, file: IO[bytes], pages: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """One member of the archive; `ValueError` where it is not an array as it lies in memory."""
    file.seek(member.header_offset + _SIZES_AT)
    sizes = np.frombuffer(file.read(_SIZES_END - _SIZES_AT), "<u2")
    start = member.header_offset + _SIZES_END + int(sizes.sum())
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    if zlib.crc32(pages[start : start + member.file_size].data) != member.CRC:
        raise ValueError(f"{member.filename} differs from its checksum")
    file.seek(start)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{member.filename} has a header of another version")
    shape, transposed, dtype = np.lib.format.read_array_header_1_0(file)
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(pages, dtype, count, file.tell()).reshape(shape, order="F" if transposed else "C")
