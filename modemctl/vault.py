"""Keys and what they protect: encryption at rest, blind indexes, MACs, PIN fingerprints.

One master key of 32 octets lies outside the database (systemd credential or file); every use has a
key of its own, derived with HKDF. Ciphertext is bound to the row and column it stands in, so that
moving it elsewhere is seen.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modemctl.errors import ConfigError, TamperedError

_KEY_OCTETS: Final = 32
_KEY_FILE_MAX: Final = 4096  # octets; 32 of them make 44 in base64
_NONCE_OCTETS: Final = 12
_INDEX_OCTETS: Final = 16
_FORMAT: Final = b"\x01"  # first octet of a ciphertext: format and key generation


class Vault:
    """Holds the keys; hands out only what they compute."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_OCTETS:
            raise ValueError("a master key has 32 octets")
        self._box = AESGCM(_derive(master_key, "encrypt"))
        self._index_key = _derive(master_key, "index")
        self._mac_key = _derive(master_key, "mac")
        self._pin_key = _derive(master_key, "pin")
        self._token_key = _derive(master_key, "token")
        self.check_value: Final = _derive(master_key, "check").hex()[:32]
        """Tells this master key from another without revealing it."""

    @classmethod
    def load(cls, path: Path) -> Vault:
        """Read the master key file (base64 of 32 octets, one line).

        Raises:
            ConfigError: missing, unreadable, too open or not a key.
        """
        return cls(read_key(path, "master key"))

    def encrypt(self, plain: bytes, *, place: str) -> bytes:
        """Encrypt for one place in the database (`table.column:row key`)."""
        nonce = os.urandom(_NONCE_OCTETS)
        return _FORMAT + nonce + self._box.encrypt(nonce, plain, place.encode())

    def decrypt(self, sealed: bytes, *, place: str) -> bytes:
        """Open what `encrypt` sealed for the same place.

        Raises:
            TamperedError: changed, moved, or sealed with another key.
        """
        if sealed[:1] != _FORMAT:
            raise TamperedError(f"{place.partition(':')[0]}: unknown ciphertext format")
        nonce, body = sealed[1 : 1 + _NONCE_OCTETS], sealed[1 + _NONCE_OCTETS :]
        try:
            return self._box.decrypt(nonce, body, place.encode())
        except (InvalidTag, ValueError):
            table = place.partition(":")[0]
            raise TamperedError(f"{table}: stored value was changed or moved") from None

    def encrypt_text(self, plain: str, *, place: str) -> bytes:
        """`encrypt` for UTF-8 text."""
        return self.encrypt(plain.encode(), place=place)

    def decrypt_text(self, sealed: bytes, *, place: str) -> str:
        """`decrypt` for UTF-8 text.

        Raises:
            TamperedError: as `decrypt`.
        """
        return self.decrypt(sealed, place=place).decode()

    def blind_index(self, number: str) -> bytes:
        """16 octets that find equal numbers without showing them."""
        return _hmac(self._index_key, number.encode())[:_INDEX_OCTETS]

    def mac(self, table: str, *fields: object) -> bytes:
        """The MAC of a row that authorises: its table and fields in a fixed order."""
        return _hmac(self._mac_key, _frame(table, *fields))

    def check_mac(self, mac: bytes | None, table: str, *fields: object) -> None:
        """Refuse a row whose MAC is missing or does not fit.

        Raises:
            TamperedError: the row was not written by this controller.
        """
        if mac is None or not hmac.compare_digest(mac, self.mac(table, *fields)):
            raise TamperedError(f"{table}: a row that authorises carries no valid MAC")

    def pin_fingerprint(self, iccid: str, pin: str) -> bytes:
        """Keyed fingerprint by which a PIN that failed for a card is known again."""
        return _hmac(self._pin_key, _frame("pin", iccid, pin))

    def token_hash(self, token: str) -> bytes:
        """What is stored in place of an API key."""
        return _hmac(self._token_key, token.encode())

    def batch_salt(self, batch_id: str, nonce: bytes) -> bytes:
        """A batch's salt; destroying `nonce` destroys the salt."""
        return _hmac(self._mac_key, _frame("salt", batch_id, nonce.hex()))


class AuditKey:
    """The Ed25519 key that signs audit entries; lies outside the database."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._private.public_key()

    @classmethod
    def load(cls, path: Path) -> AuditKey:
        """Read the key file (base64 of the 32-octet seed).

        Raises:
            ConfigError: missing, unreadable, too open or not a key.
        """
        return cls(read_key(path, "audit key"))

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


def read_key(path: Path, what: str) -> bytes:
    """The 32 octets of a key file.

    Raises:
        ConfigError: missing, unreadable, too open or not a key.
    """
    try:
        mode = path.stat().st_mode
        text = _key_text(path) if stat.S_ISREG(mode) else b""  # a pipe would be waited for
    except FileNotFoundError:
        cure = "create it with: modemctl key create"
        raise ConfigError([f"{what} file {path} does not exist; {cure} {path}"]) from None
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


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _frame(*fields: object) -> bytes:
    """Fields joined so that no two lists of fields give the same octets."""
    out = bytearray()
    for field in fields:
        octets = b"\x00" if field is None else b"\x01" + str(field).encode()
        out += len(octets).to_bytes(4, "big") + octets
    return bytes(out)
