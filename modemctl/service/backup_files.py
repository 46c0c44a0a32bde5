"""The file of a backup: a tar archive, encrypted with age, that `age -d` and `tar` open as well.

In it, in this order: `manifest.json`, the database, `settings.json`, the files of the policy.
Nothing here needs the daemon, its keys, or a loop; all of it blocks.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

import msgspec

from modemctl.errors import ConfigError, InvalidRequest
from modemctl.policy.backups import PART

if TYPE_CHECKING:
    from pyrage import x25519

FORMAT: Final = 1
"""Of the archive; a reader refuses a later one."""
DATABASE: Final = "modemctl.db"
SETTINGS: Final = "settings.json"
MANIFEST: Final = "manifest.json"
SCRATCH: Final = "backup-work"
"""The folder of the copy before it is encrypted, below the state folder; removed afterwards."""

_CHUNK: Final = 1 << 20
_MANIFEST_MAX: Final = 1 << 20
_BLOCK: Final = 512  # of a tar archive
_END: Final = bytes(2 * _BLOCK)
_IDENTITY_MAX: Final = 1 << 16
_DAMAGED: Final = "the backup is damaged: it does not open as it was written"
_OTHER_COPY: Final = "take another copy of it, or an earlier backup: modemctl backup list"
_NO_AGE: Final = "backups need the package pyrage; install modemctl[backup]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A head of the log, as the manifest has it; `hash` is hexadecimal."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds. `files`: name in the archive → SHA-256 (hexadecimal)."""

    format: int
    site: str
    node: str
    version: str
    at: datetime
    kind: str
    schema: str
    n_octets: int
    rows: Mapping[str, int]
    heads: Mapping[str, Noted]
    policy: str
    files: Mapping[str, str] = field(repr=False)


_manifests: Final = msgspec.json.Decoder(Manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A whole file on its medium, read again and found as it was written."""

    sha256: str
    n_octets: int


def require_age() -> None:
    """Refuse where the package that encrypts is missing.

    Raises:
        ConfigError: with the cure.
    """
    if find_spec("pyrage") is None:  # an extra, which a site without backups does not need
        raise ConfigError([_NO_AGE])


def write_archive(
    target: Path, parts: Mapping[str, Path | bytes], recipients: Sequence[str]
) -> Written:
    """Encrypt these parts, in their order, to a new file that shows only when it is whole.

    Raises:
        OSError: the disk is full, or refuses.
        InvalidRequest: what stands on the disk is not what was written.
        ConfigError: pyrage is missing, or one of the `recipients` is no age public key.
    """
    require_age()
    import pyrage

    keys = [_recipient(one) for one in recipients]

    def fill(out: IO[bytes]) -> str:
        sink, source = _Sink(out), _Source(_tar(parts))
        try:
            pyrage.encrypt_io(source, sink, keys)
        except pyrage.EncryptError as error:
            raise (source.error or sink.error or OSError(str(error))) from None
        return sink.digest()

    return place_whole(target, fill)


def place_whole(target: Path, fill: Callable[[IO[bytes]], str]) -> Written:
    """Let `fill` write a file that appears under its name when it is whole and on the disk.

    `fill` tells the SHA-256 of what it wrote; the file is read again from the disk.

    Raises:
        OSError: the disk is full, or refuses; nothing is left.
        InvalidRequest: what stands on the disk is not what was written.
    """
    half = half_of(target)
    fd = os.open(half, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "r+b", buffering=0) as out:
            expected = fill(out)
            os.fsync(out.fileno())
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # read from the disk
            out.seek(0)
            found, n_octets = digest_of(out)
        _require_same(found, expected)
        half.replace(target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    return Written(sha256=found, n_octets=n_octets)


def half_of(target: Path) -> Path:
    """What a file is called until it is whole."""
    return target.with_name(f".{target.name}{PART}")


def _require_same(found: str, expected: str) -> None:
    if found != expected:
        raise InvalidRequest(
            "what stands on the disk is not what was written", cure="check the disk"
        )


def digest_of(file: IO[bytes]) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and length of what is left of a file."""
    digest, n = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        n += len(chunk)
    return digest.hexdigest(), n


def file_digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and length of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return digest_of(file)


def read_identities(path: Path) -> Sequence[x25519.Identity]:
    """The secret keys in an age identity file; comments and empty lines are passed over.

    Raises:
        ConfigError: pyrage is missing, or the file holds no such key.
    """
    require_age()
    import pyrage

    try:
        with path.open("rb") as file:
            text = file.read(_IDENTITY_MAX).decode("ascii")
        lines = [line.strip() for line in text.splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        found = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except OSError as error:
        raise ConfigError([f"identity file {path}: {error.strerror}"]) from None
    except (pyrage.IdentityError, UnicodeDecodeError):  # its words could hold the key
        found = []
    if not found:
        cure = "it is what age-keygen wrote for the recipient (AGE-SECRET-KEY-1…)"
        raise ConfigError([f"identity file {path} holds no age secret key; {cure}"])
    return found


def unpack(source: Path, identities: Sequence[x25519.Identity], folder: Path) -> Manifest:
    """Decrypt a backup into an empty folder; each part is what the manifest says.

    Raises:
        InvalidRequest: no backup, another's, damaged, cut off, or of a later format.
        OSError: the disk is full, or refuses.
    """
    with _decrypted(source, identities) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                manifest = _unpack(archive, folder)
            while stream.read(_CHUNK):  # to the end: only then is the last part proved
                pass
        except (tarfile.TarError, EOFError, UnicodeDecodeError):
            raise InvalidRequest(_DAMAGED, cure=_OTHER_COPY) from None
    return manifest


def _unpack(archive: tarfile.TarFile, folder: Path) -> Manifest:
    manifest: Manifest | None = None
    found: dict[str, str] = {}
    for member in archive:
        content = archive.extractfile(member) if member.isreg() else None
        if content is None:
            raise InvalidRequest(_DAMAGED, cure=_OTHER_COPY)
        if manifest is None:
            manifest = _read_manifest(member, content)
            continue
        if member.name not in manifest.files or member.name in found:
            raise InvalidRequest(_DAMAGED, cure=_OTHER_COPY)
        found[member.name] = _extract(content, _inside(folder, member.name))
    if manifest is None or found != dict(manifest.files):
        raise InvalidRequest(_DAMAGED, cure=_OTHER_COPY)
    return manifest


def _read_manifest(member: tarfile.TarInfo, content: IO[bytes]) -> Manifest:
    if member.name != MANIFEST or member.size > _MANIFEST_MAX:
        raise InvalidRequest("this is no backup of modemctl")
    octets = content.read()
    try:
        told = msgspec.json.decode(octets, type=dict[str, object]).get("format")
        if isinstance(told, int) and told > FORMAT:
            cure = "restore it with the modemctl that made it, or a newer one"
            raise InvalidRequest(f"the backup is of format {told}", cure=cure)
        return _manifests.decode(octets)
    except msgspec.MsgspecError:
        raise InvalidRequest(_DAMAGED, cure=_OTHER_COPY) from None


def _inside(folder: Path, name: str) -> Path:
    """The place of a part; a name that leads out of the folder is none of ours."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise InvalidRequest(_DAMAGED, cure=_OTHER_COPY)
    return folder.joinpath(*parts)


def _extract(content: IO[bytes], target: Path) -> str:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as out:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


@contextmanager
def _decrypted(source: Path, identities: Sequence[x25519.Identity]) -> Iterator[IO[bytes]]:
    """What comes out of a backup; what was read counts only where the block ends without error.

    Raises:
        InvalidRequest: another's, damaged or cut off.
    """
    import pyrage

    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def decrypt() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=_CHUNK) as out, source.open("rb") as file:
                pyrage.decrypt_io(file, out, identities)
        except Exception as error:  # noqa: BLE001 - handed to who reads
            failures.append(error)

    thread = threading.Thread(target=decrypt, name="decrypt", daemon=True)
    thread.start()
    failed: BaseException | None = None
    try:
        with os.fdopen(reading, "rb", buffering=_CHUNK) as stream:
            yield stream
    except InvalidRequest as error:
        failed = error  # the decryption knows better why
    thread.join()  # not where the block was ended from outside: a source may hang
    _tell(failures, source)
    if failed is not None:
        raise failed


def _tell(failures: Sequence[BaseException], source: Path) -> None:
    import pyrage

    for error in failures:
        if isinstance(error, BrokenPipeError):
            continue  # who read had seen enough
        if isinstance(error, OSError) and error.errno is not None:
            raise InvalidRequest(f"{source}: {error.strerror}")
        if isinstance(error, pyrage.DecryptError) and "No matching keys" in str(error):
            cure = "take the secret key of one of the recipients that it was made for"
            raise InvalidRequest("this identity does not open the backup", cure=cure)
        raise InvalidRequest(_DAMAGED, cure=_OTHER_COPY)


def _recipient(key: str) -> x25519.Recipient:
    import pyrage

    try:
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError:
        cure = "age-keygen -y prints the public key (age1…) of an identity file"
        raise ConfigError(
            [f"backup.recipients: {key[:16]}… is no age public key; {cure}"]
        ) from None


def _tar(parts: Mapping[str, Path | bytes]) -> Iterator[bytes]:
    """A tar archive, piece by piece, with nobody's name and no time in it."""
    for name, content in parts.items():
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        yield info.tobuf(format=tarfile.PAX_FORMAT)
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            n = 0
            while chunk := file.read(_CHUNK):
                n += len(chunk)
                yield chunk
        if n != size:
            raise OSError(f"{name} changed while it was read")
        yield bytes(-size % _BLOCK)
    yield _END


class _Source(io.RawIOBase):
    """Pieces, read as a file; keeps what went wrong, which pyrage tells in words only."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.error: OSError | None = None

    def readable(self) -> bool:
        """See `io`."""
        return True

    def read(self, size: int = -1) -> bytes:
        """See `io`; `size` is always given here."""
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except OSError as error:
            self.error = error
            raise
        found, self._rest = self._rest[:size], self._rest[size:]
        return bytes(found)


class _Sink(io.RawIOBase):
    """A file that is hashed while it is written."""

    def __init__(self, out: IO[bytes]) -> None:
        super().__init__()
        self._out = out
        self._digest = hashlib.sha256()
        self.error: OSError | None = None

    def writable(self) -> bool:
        """See `io`."""
        return True

    def write(self, octets: bytes) -> int:  # type: ignore[override]  # pyrage gives bytes
        """See `io`."""
        try:
            n = self._out.write(octets)
        except OSError as error:
            self.error = error
            raise
        self._digest.update(octets[:n])
        return n

    def digest(self) -> str:
        """SHA-256 of all that was written."""
        return self._digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
