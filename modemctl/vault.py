"""Keys and what they protect: encryption at rest, blind indexes, MACs, PIN fingerprints.

One master key of 32 octets lies outside the database (systemd credential or file). It opens the
data keys alone, one for each use, which the database keeps wrapped: another master key wraps the
same ones, and no row changes. The key that encrypts has generations; the first octet of a
ciphertext names its own. Ciphertext is bound to the row and column it stands in, so that moving it
elsewhere is seen.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modemctl.errors import ConfigError, TamperedError

_KEY_OCTETS: Final = 32
_KEY_FILE_MAX: Final = 4096  # octets; 32 of them make 44 in base64
_NONCE_OCTETS: Final = 12
_INDEX_OCTETS: Final = 16
_NO_FIELD: Final = b"\x00\x00\x00\x01\x00"
MAX_GENERATION: Final = 255
"""A ciphertext's first octet names the generation of its key: 1 … 255."""


class KeyUse(StrEnum):
    """What a data key is for; each use has its own."""

    ENCRYPT = "encrypt"
    INDEX = "index"
    MAC = "mac"
    PIN = "pin"
    TOKEN = "token"  # noqa: S105 - the name of a use, no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key as the database keeps it; a master key opens it."""

    use: KeyUse
    generation: int
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ring:
    """Keys in use; replaced as a whole, so that no thread sees half of a change."""

    generation: int
    boxes: Mapping[int, AESGCM] = field(repr=False)
    macs: Mapping[KeyUse, HMAC] = field(repr=False)  # for all uses but ENCRYPT


class Vault:
    """Holds the keys; hands out only what they compute."""

    def __init__(self, master_key: bytes) -> None:
        """Until `adopt` the keys of a database from before there were wrapped ones count."""
        if len(master_key) != _KEY_OCTETS:
            raise ValueError("a master key has 32 octets")
        self._wrapping = AESGCM(_derive(master_key, "wrap"))
        self.check_value: Final = _derive(master_key, "check").hex()[:32]
        """Tells this master key from another without revealing it."""
        self.first_keys: Final = tuple(
            self._wrap(use, 1, _derive(master_key, use)) for use in KeyUse
        )
        """The keys that databases of earlier versions were made with, wrapped."""
        self.renew: Callable[[int], None] | None = None
        """Looks for the key of a generation, where another node may have added it meanwhile."""
        self.adopt(self.first_keys)

    @classmethod
    def load(cls, path: Path, *, has_data: bool = False) -> Vault:
        """Read the master key file (base64 of 32 octets, one line); `has_data`: see `read_key`.

        Raises:
            ConfigError: missing, unreadable, too open or not a key.
        """
        return cls(read_key(path, "master key", has_data=has_data))

    @property
    def generation(self) -> int:
        """Of the key that encrypts from now on."""
        return self._ring.generation

    def knows(self, generation: int) -> bool:
        """Whether what a key of this generation sealed opens here."""
        return generation in self._ring.boxes

    def new_keys(self) -> Sequence[WrappedKey]:
        """Random data keys, one for each use, for a new database."""
        return [self._wrap(use, 1, os.urandom(_KEY_OCTETS)) for use in KeyUse]

    def next_key(self) -> WrappedKey:
        """A random key that encrypts, of the next generation; it counts once it was adopted.

        Raises:
            OverflowError: there was a 255th generation.
        """
        if self.generation >= MAX_GENERATION:
            raise OverflowError("a ciphertext cannot name another generation")
        return self._wrap(KeyUse.ENCRYPT, self.generation + 1, os.urandom(_KEY_OCTETS))

    def adopt(self, keys: Iterable[WrappedKey]) -> None:
        """Use these data keys from now on, and no others; the last generation encrypts.

        Raises:
            TamperedError: one of them does not open, or a use has none.
        """
        opened = {(key.use, key.generation): self._unwrap(key) for key in keys}
        boxes = {
            generation: AESGCM(octets)
            for (use, generation), octets in opened.items()
            if use is KeyUse.ENCRYPT
        }
        macs: dict[KeyUse, HMAC] = {
            use: HMAC(octets, SHA256())
            for (use, _), octets in opened.items()
            if use is not KeyUse.ENCRYPT
        }
        if not boxes or len(macs) != len(KeyUse) - 1:
            raise TamperedError("data_key: a data key is missing")
        self._ring = _Ring(generation=max(boxes), boxes=boxes, macs=macs)

    def rewrap(self, keys: Iterable[WrappedKey], to: Vault) -> Sequence[WrappedKey]:
        """The same data keys, wrapped by another vault's master key.

        Raises:
            TamperedError: one of them does not open.
        """
        return [to._wrap(key.use, key.generation, self._unwrap(key)) for key in keys]

    def _wrap(self, use: KeyUse, generation: int, octets: bytes) -> WrappedKey:
        nonce = os.urandom(_NONCE_OCTETS)
        sealed = self._wrapping.encrypt(nonce, octets, _key_place(use, generation))
        return WrappedKey(use=use, generation=generation, wrapped=nonce + sealed)

    def _unwrap(self, key: WrappedKey) -> bytes:
        nonce, body = key.wrapped[:_NONCE_OCTETS], key.wrapped[_NONCE_OCTETS:]
        try:
            return self._wrapping.decrypt(nonce, body, _key_place(key.use, key.generation))
        except (InvalidTag, ValueError):
            raise TamperedError("data_key: a data key does not open") from None

    def encrypt(self, plain: bytes, *, place: str) -> bytes:
        """Encrypt for one place in the database (`table.column:row key`)."""
        ring, nonce = self._ring, os.urandom(_NONCE_OCTETS)
        sealed = ring.boxes[ring.generation].encrypt(nonce, plain, place.encode())
        return bytes((ring.generation,)) + nonce + sealed

    def decrypt(self, sealed: bytes, *, place: str) -> bytes:
        """Open what `encrypt` sealed for the same place.

        Raises:
            TamperedError: changed, moved, or sealed with another key.
            Exception: what `renew` raises, where its key is looked for.
        """
        box = self._box(sealed[0]) if sealed else None
        if box is None:
            raise TamperedError(f"{place.partition(':')[0]}: sealed with a key that is not here")
        nonce, body = sealed[1 : 1 + _NONCE_OCTETS], sealed[1 + _NONCE_OCTETS :]
        try:
            return box.decrypt(nonce, body, place.encode())
        except (InvalidTag, ValueError):
            table = place.partition(":")[0]
            raise TamperedError(f"{table}: stored value was changed or moved") from None

    def _box(self, generation: int) -> AESGCM | None:
        box = self._ring.boxes.get(generation)
        if box is None and self.renew is not None:
            self.renew(generation)
            box = self._ring.boxes.get(generation)
        return box

    def encrypt_text(self, plain: str, *, place: str) -> bytes:
        """`encrypt` for UTF-8 text."""
        return self.encrypt(plain.encode(), place=place)

    def decrypt_text(self, sealed: bytes, *, place: str) -> str:
        """`decrypt` for UTF-8 text.

        Raises:
            TamperedError: as `decrypt`.
        """
        return self.decrypt(sealed, place=place).decode()

    def reseal(self, sealed: bytes, *, place: str) -> bytes:
        """The same value, encrypted with the key of the last generation.

        Raises:
            TamperedError: as `decrypt`.
        """
        return self.encrypt(self.decrypt(sealed, place=place), place=place)

    def blind_index(self, number: str) -> bytes:
        """16 octets that find equal numbers without showing them."""
        return self._hmac(KeyUse.INDEX, number.encode())[:_INDEX_OCTETS]

    def mac(self, table: str, *fields: object) -> bytes:
        """The MAC of a row that authorises: its table and fields in a fixed order."""
        return self._hmac(KeyUse.MAC, _frame(table, *fields))

    def check_mac(self, mac: bytes | None, table: str, *fields: object) -> None:
        """Refuse a row whose MAC is missing or does not fit.

        Raises:
            TamperedError: the row was not written by this controller.
        """
        if mac is None or not hmac.compare_digest(mac, self.mac(table, *fields)):
            raise TamperedError(f"{table}: a row that authorises carries no valid MAC")

    def pin_fingerprint(self, iccid: str, pin: str) -> bytes:
        """Keyed fingerprint by which a PIN that failed for a card is known again."""
        return self._hmac(KeyUse.PIN, _frame("pin", iccid, pin))

    def token_hash(self, token: str) -> bytes:
        """What is stored in place of an API key."""
        return self._hmac(KeyUse.TOKEN, token.encode())

    def batch_salt(self, batch_id: str, nonce: bytes) -> bytes:
        """A batch's salt; destroying `nonce` destroys the salt."""
        return self._hmac(KeyUse.MAC, _frame("salt", batch_id, nonce.hex()))

    def _hmac(self, use: KeyUse, message: bytes) -> bytes:
        mac = self._ring.macs[use].copy()  # has taken its key in: half of a short message's work
        mac.update(message)
        return mac.finalize()


class AuditKey:
    """The Ed25519 key that signs audit entries; lies outside the database."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._private.public_key()

    @classmethod
    def load(cls, path: Path, *, has_data: bool = False) -> AuditKey:
        """Read the key file (base64 of the 32-octet seed); `has_data`: see `read_key`.

        Raises:
            ConfigError: missing, unreadable, too open or not a key.
        """
        return cls(read_key(path, "audit key", has_data=has_data))

    def sign(self, message: bytes) -> bytes:
        """64 octets."""
        return self._private.sign(message)

    def public_octets(self) -> bytes:
        """The public key, 32 octets."""
        return self.public.public_bytes_raw()


def public_key(octets: bytes) -> Ed25519PublicKey:
    """An Ed25519 public key from its 32 octets."""
    return Ed25519PublicKey.from_public_bytes(octets)


def create_key(path: Path) -> None:
    """Write a new random key file with mode 0600; never overwrites.

    Raises:
        FileExistsError: there is one already.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(base64.b64encode(os.urandom(_KEY_OCTETS)) + b"\n")


def read_key(path: Path, what: str, *, has_data: bool = False) -> bytes:
    """The 32 octets of a key file.

    `has_data`: a database is there that was made with it, so that no new key takes its place.

    Raises:
        ConfigError: missing, unreadable, too open or not a key.
    """
    try:
        mode = path.stat().st_mode
        text = _key_text(path) if stat.S_ISREG(mode) else b""  # a pipe would be waited for
    except FileNotFoundError:
        cure = f"create it with: modemctl key create {path}"
        if has_data:
            cure = f"restore it from its copy: the database stands on the {what} of its time"
        raise ConfigError([f"{what} file {path} does not exist; {cure}"]) from None
    except OSError as error:
        raise ConfigError([f"{what} file {path} cannot be read: {error.strerror}"]) from None
    if mode & 0o037:  # group may read: systemd grants a credential by an ACL, shown as 0440
        raise ConfigError([f"{what} file {path} is open to others; run: chmod 600 {path}"])
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_OCTETS:
        raise ConfigError([f"{what} file {path} does not hold 32 octets in base64; restore it"])
    return key


def _key_text(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_KEY_FILE_MAX)


def _derive(master_key: bytes, use: str) -> bytes:
    info = b"modemctl/1/" + use.encode()
    return HKDF(algorithm=SHA256(), length=_KEY_OCTETS, salt=None, info=info).derive(master_key)


def _key_place(use: KeyUse, generation: int) -> bytes:
    return f"data_key:{use}:{generation}".encode()


def _field(n: int) -> bytes:
    return (n + 1).to_bytes(4, "big") + b"\x01"


def _frame(*fields: object) -> bytes:
    """Fields joined so that no two lists of fields give the same octets."""
    out: list[bytes] = []
    for one in fields:
        if one is None:
            out.append(_NO_FIELD)
        else:
            octets = str(one).encode()
            n = len(octets)
            out.append(_FIELD[n] if n < len(_FIELD) else _field(n))
            out.append(octets)
    return b"".join(out)


_FIELD: Final = tuple(map(_field, range(256)))  # made once: a lease frames hundreds of fields
