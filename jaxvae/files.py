"""Reading and atomic writing of files in UTF-8, which never follows symbolic links out of the folder.

A file is written under a random name in the same folder, flushed to the disk, and then renamed. If the disk is full, a
quota is exceeded, the process is killed or another process writes the same file, the previous file therefore stays
intact. A symbolic link under the file's name is replaced, not followed.
"""

import json
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

PARTIAL = ".partial"
"""Suffix of the name of a file that is being written."""
REVERSING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
JSON_BYTES = 64 << 20
"""Largest size in bytes of a JSON file that is read."""
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class NotWritten(OSError):
    """A file could not be written. An existing file is unchanged."""

    def __str__(self) -> str:
        return f"can't write {self.filename}: {self.strerror}. A file that was there before is unchanged"


class LeadsOutside(OSError):
    """A symbolic link leads out of the folder that is written to."""

    def __str__(self) -> str:
        return f"{self.filename} is a symbolic link out of its folder, and nothing is written there: {self.strerror}"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a new file that replaces `path` when the block ends without an error.

    Raises:
      NotWritten: The file cannot be written, or `path` is a folder, a device or a pipe.
    """
    partial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}{PARTIAL}")
    made = False
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "it is a folder or a device, not a file")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o666)
        made = True
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        if made:
            with suppress(OSError):
                partial.unlink()
        if isinstance(error, OSError):
            raise NotWritten(error.errno, error.strerror or str(error), str(path)) from error
        raise
    _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes the file atomically.

    Raises:
      NotWritten: The file cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes the text atomically as UTF-8. Characters that UTF-8 cannot encode, as in file names, are escaped."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Writes the value atomically as JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def append_text(path: Path) -> IO[str]:
    """Opens a text file in UTF-8 for appending.

    Raises:
      LeadsOutside: The file is a symbolic link.
    """
    if path.is_symlink():
        raise LeadsOutside(None, "replace it by a file", str(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_FOLLOW, 0o666)
    return os.fdopen(descriptor, "a", encoding="utf-8", newline="\n")


def read_json(path: Path, most: int = JSON_BYTES) -> Any:
    """Returns the value of a JSON file in UTF-8.

    Raises:
      OSError: The file cannot be read.
      ValueError: It is not a regular file, has more than `most` bytes, or does not hold JSON.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is not a regular file")
    if about.st_size > most:
        raise ValueError(f"it has {about.st_size:,} bytes, and at most {most:,} are read")
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def inside(folder: Path, name: str) -> Path:
    """Returns `folder` / `name` as a path to write to.

    Raises:
      LeadsOutside: The path is a symbolic link out of the folder.
    """
    path = folder / name
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise LeadsOutside(None, "replace the link by what it leads to", str(path))
    return path


def printable(text: str) -> str:
    r"""Escapes the control characters of a text, except for newlines and tabs.

    Escape sequences in the names of files and factors would otherwise act on the terminal. Characters that reverse the
    direction of writing, and bytes of names that are no UTF-8, are escaped as well: "\x1b", "\u202e", "\udce9".
    """
    return "".join(_escaped(letter) if _acts(letter) else letter for letter in text)


def _acts(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return (kind == "Cc" and letter not in "\n\t") or kind in ("Cs", "Zl", "Zp") or letter in REVERSING


def _escaped(letter: str) -> str:
    return letter.encode("ascii", errors="backslashreplace").decode() if ord(letter) > 127 else f"\\x{ord(letter):02x}"


def _sync_folder(folder: Path) -> None:
    """Flushes the folder to the disk, so that the new file name is stored, if the system supports this."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
