"""Where a data set's files come from: the cache, else a mirror, else the network. Nothing unchecked is ever parsed.

A loader lists its files, or a folder of them, with their sha256 and brings a function that downloads one of these
through the data set's usual library. `read` then returns bytes that are the published ones, to the bit:

1. `paths.data_cache()`, the git-ignored folder `data/`;
2. `$SVAE_DATA_MIRROR`, from where the file is copied into the cache;
3. the network, asked once per process and not for long, so that an offline machine does not hang.
"""

import errno
import hashlib
import http.client
import socket
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from svae_repro import paths
from svae_repro.errors import UserError
from svae_repro.files import whole_or_absent

SOURCES = ("auto", "real", "standin")
PATIENCE = 8.0  # seconds to wait for a silent host

Data = TypeVar("Data")
Download = Callable[["DataFile", Path], None]  # puts the file, under its own name, into the given folder

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_NETWORK_ERRORS = (OSError, RuntimeError, http.client.HTTPException)  # torchvision's complaints are RuntimeErrors
_offline: dict[str, str] = {}  # data set -> why its download failed; in this process it is not tried again


@dataclass(frozen=True)
class DataFile:
    """A published file: its path inside cache and mirror, and its checksum in hexadecimal."""

    path: str
    sha256: str

    def exists(self, path: Path) -> bool:
        return path.exists()

    def content(self, path: Path) -> bytes:
        return path.read_bytes()

    def checksum(self, content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    def store(self, content: bytes, path: Path) -> None:
        with whole_or_absent(path) as temporary:
            temporary.write_bytes(content)


@dataclass(frozen=True)
class DataFolder(DataFile):
    """Many published files in one folder, under one checksum: that of what ``sha256sum NAMES`` prints inside it.

    Its content is a dictionary, name -> bytes. Other files in the folder are never looked at.
    """

    names: tuple[str, ...]

    def exists(self, path: Path) -> bool:
        return all((path / name).exists() for name in self.names)

    def content(self, path: Path) -> dict[str, bytes]:
        return {name: (path / name).read_bytes() for name in self.names}

    def checksum(self, content: dict[str, bytes]) -> str:
        lines = [f"{hashlib.sha256(part).hexdigest()}  {name}\n" for name, part in content.items()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def store(self, content: dict[str, bytes], path: Path) -> None:
        for name, part in content.items():  # a copy that was cut short lacks files, so it does not exist
            super().store(part, path / name)


class Unavailable(UserError):
    """The real data cannot be had here. Under `source="auto"` this, and only this, calls for the stand-in."""


def check_source(source: str) -> None:
    """Raise a UserError if ``source`` is none of `SOURCES`."""
    if source not in SOURCES:
        raise UserError(f"unknown data source {source!r}: choose one of {', '.join(SOURCES)}")


def choose(source: str, real: Callable[[], Data], standin: Callable[[], Data]) -> Data:
    """The data asked for; with `"auto"` the real ones, or the stand-in where `real()` raises `Unavailable`.

    Raises UserError for any other `source`.
    """
    check_source(source)
    if source == "standin":
        return standin()
    try:
        return real()
    except Unavailable as error:
        if source == "real":
            raise
        print(f"stand-in data, as the real ones cannot be had: {error}", file=sys.stderr)
        return standin()


def read(file: DataFile, download: Download) -> bytes | dict[str, bytes]:
    """The verified content of a file or folder, which from now on lies in the cache too.

    Raises:
        Unavailable: it is neither in the cache nor in the mirror, and the download failed.
        UserError: a file has the wrong checksum or cannot be read, or the cache cannot be written.
    """
    cached, mirror = paths.data_cache() / file.path, paths.data_mirror()
    if file.exists(cached):
        return _verified(file, cached, "delete it, and it will be fetched again")
    if mirror is not None and file.exists(mirror / file.path):
        content = _verified(file, mirror / file.path, "repair the mirror or unset SVAE_DATA_MIRROR")
        _store(file, content, cached, needed=False)
        return content
    content = _downloaded(file, download)
    _store(file, content, cached, needed=True)  # or every process would download it again
    return content


def digest(files: list[DataFile]) -> str:
    """One sha256 for a data set: that of its files' checksums, in the order given."""
    return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()


def reachable(url: str) -> bool:
    """Whether a host answers for this address within `PATIENCE` seconds.

    A thread asks, because nothing bounds a name look-up except leaving it behind.
    """
    answered = threading.Event()

    def ask():
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE).close()
            answered.set()
        except (ValueError, *_NETWORK_ERRORS):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answered.is_set()


def _verified(file: DataFile, path: Path, remedy: str):
    try:
        content = file.content(path)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or path} ({error.strerror}): {remedy}") from error
    found = file.checksum(content)
    if found != file.sha256:
        raise UserError(f"{path} is corrupt: its sha256 should be {file.sha256} and is {found}; {remedy}")
    return content


def _store(file: DataFile, content, path: Path, needed: bool) -> None:
    try:
        file.store(content, path)
    except OSError as error:
        if needed or error.errno not in _READ_ONLY:
            remedy = "free some space, or set SVAE_HOME to a folder that can be written"
            raise UserError(f"cannot write {path} ({error.strerror}): {remedy}") from error


def _downloaded(file: DataFile, download: Download):
    dataset, name = file.path.split("/", 1)[0], Path(file.path).name
    if dataset not in _offline:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(PATIENCE)  # the libraries' downloaders set none
        try:
            with tempfile.TemporaryDirectory() as folder:
                download(file, Path(folder))
                return _verified(file, Path(folder) / name, "the server sent another file; report it")
        except _NETWORK_ERRORS as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"cannot download {file.path}: the temporary folder is full") from error
            _offline[dataset] = " ".join(str(error).split())
        finally:
            socket.setdefaulttimeout(before)
    raise Unavailable(
        f"{file.path} is not in {paths.data_cache()}, SVAE_DATA_MIRROR does not offer it, and the "
        f"download failed ({_offline[dataset]}): set SVAE_DATA_MIRROR, or take the stand-in data"
    )
