"""Identification of files by their first bytes, for messages about files that are not what their names say."""

import gzip
import io
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

DAMAGED = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that readers raise for damaged files, in addition to ValueError."""
MOST_UNPACKED = 16 << 30
"""Largest size in bytes of an unpacked .gz file."""
MAGIC = {"npz": b"PK", "npy": b"\x93NUMPY", "hdf5": b"\x89HDF"}
"""First bytes of the kinds of files that are read."""
OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the data themselves: run `git lfs pull`",
    b"/annex/objects/": "a git-annex pointer, not the data themselves: run `git annex get`",
    b"<!doctype html": "a web page: download the data again",
    b"<html": "a web page: download the data again",
    b"<?xml": "an XML file, perhaps a server's message: download the data again",
    b"<": "a page or a message of a server: download the data again",
    b"{": "a JSON file, perhaps a server's message",
    b"\x1f\x8b": "packed by gzip: name it .gz, or unpack it",
    b"\xfd7zxz": "packed by xz: unpack it",
    b"bzh": "packed by bzip2: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"rar!": "a RAR archive: unpack it",
    b"%pdf": "a PDF document",
    b"matlab 7.3 mat-file": "a MATLAB file of version 7.3: save it as version 7",
    b"matlab": "a MATLAB file",
    b"\x89png": "a PNG picture",
    b"\x80": "a Python pickle, which is never unpickled",
    b"pk": "a zip archive, or an npz file",
    b"\x93numpy": "an npy file",
    b"\x89hdf": "an HDF5 file",
}
"""Descriptions of other files, and what to do with them, by their first bytes in lower case."""


def suffix_of(path: Path) -> str:
    """Returns the suffix of a file name in lower case. For a .gz file, it is the suffix of the packed file."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path).suffix.lower()


def content_of(path: Path) -> Path | io.BytesIO:
    """Returns the path itself, or the unpacked content of a .gz file.

    Raises:
      ValueError: The path is not a regular file, or cannot be unpacked. The message names the file.
    """
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    if not path.is_file():
        raise ValueError(f"{path}: it is not a regular file")
    if path.suffix.lower() != ".gz":
        return path
    content = io.BytesIO()
    try:
        with gzip.open(path) as packed:
            while chunk := packed.read(1 << 20):
                content.write(chunk)
                if content.tell() > MOST_UNPACKED:
                    raise ValueError(f"{path}: it unpacks to more than {MOST_UNPACKED >> 30} GiB: unpack it first")
    except DAMAGED as error:
        told = "" if _head(path).startswith(b"\x1f\x8b") else identified(path)
        raise ValueError(f"{path}: {told or f'it cannot be unpacked, it may be cut off ({error})'}") from error
    content.seek(0)
    return content


def identified(content: Path | io.BytesIO) -> str:
    """Describes a file and says what to do, such as "it is a web page: download the data again"; "" if unknown."""
    plain = (head := _head(content)).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "it is empty"
    return next((f"it is {told}" for start, told in OTHERS.items() if plain.startswith(start)), "")


def check_kind(path: Path, content: Path | io.BytesIO, kind: str) -> None:
    """Checks that a file begins as a file of that kind.

    Raises:
      ValueError: It begins otherwise; the message says what the file is, if that is known.
    """
    if not _head(content).startswith(MAGIC[kind]):
        raise ValueError(f"{path}: not an {kind} file: {identified(content) or 'it begins as none does'}")


def unreadable(path: Path, error: Exception) -> ValueError:
    """Returns the error for a file that has the right first bytes but cannot be read."""
    text = str(error)
    if "pickle" in text or "Python objects" in text:
        reason = "its header is too long" if "max_header_size" in text else "it holds Python objects"
        return ValueError(f"{path}: {reason}: it can't be read without unpickling, which is never done")
    return ValueError(f"{path}: can't be read, it may be cut off ({text})")


def _head(content: Path | io.BytesIO) -> bytes:
    if isinstance(content, Path):
        with content.open("rb") as file:
            return file.read(64)
    head = content.read(64)
    content.seek(0)
    return head
