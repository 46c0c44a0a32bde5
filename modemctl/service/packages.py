"""Evidence packages for an investigation: two persons, one sealed and signed file (SEC-12).

A ZIP of JSON lines with a manifest that the audit key signs, encrypted with AES-256-GCM under a key
that scrypt makes of a passphrase. Both stand in `cryptography`, which the vault needs anyway:
whoever gets the file opens it with `modemctl evidence open`, or with any tool that knows the two.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypedDict, Unpack

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from modemctl.errors import InvalidRequest, NotFound
from modemctl.policy.dual import DualKind
from modemctl.policy.numbers import NumberRules
from modemctl.service import dual
from modemctl.service.holds import wanted_of
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx
from modemctl.store import packages as rows
from modemctl.store.batches import find_batch
from modemctl.store.holds import NewHold
from modemctl.vault import AuditKey, public_key

__all__ = ["PackageView", "Packages", "Selection", "open_package"]

_MAGIC: Final = b"modemctl-evidence-1\n"
_SALT_OCTETS: Final = 16
_NONCE_OCTETS: Final = 12
_LEAST_PASSPHRASE: Final = 12
_MAX_LINES: Final = 20_000
_MANIFEST: Final = "manifest.json"
_SIGNATURE: Final = "manifest.sig"


class Selection(TypedDict, total=False):
    """What a package is about: exactly one of card, number, batch, period."""

    iccid: str | None
    number: str | None
    batch_id: str | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageView:
    """What a package holds. `subject` is what two persons name in their request.

    `package` (base64) is the encrypted file, `sha256` its digest, `audit_key` the public key (64
    hexadecimal digits) that proves its signature; None in a preview.
    """

    subject: str
    n_lines: int
    sha256: str | None = None
    audit_key: str | None = None
    package: str | None = field(default=None, repr=False)


class Packages:
    """Makes evidence packages."""

    def __init__(self, store: Store, *, numbers: NumberRules, site_id: str, key: AuditKey) -> None:
        self._store = store
        self._numbers = numbers
        self._site_id = site_id
        self._key = key

    async def preview(self, who: Principal, **wanted: Unpack[Selection]) -> PackageView:
        """How much a package would hold, and its subject.

        Raises:
            NotPermitted, PolicyRefused: scope, an account of one department, a machine's.
            InvalidRequest: not exactly one of card, number, batch, period.
            NotFound: no such batch.
        """
        _require(who)
        store, meant = self._store, wanted_of(self._numbers, **wanted)
        return await store.read(lambda conn: _look(store.view(conn), meant))

    async def make(
        self,
        who: Principal,
        *,
        passphrase: str,
        request_id: str | None,
        **wanted: Unpack[Selection],
    ) -> PackageView:
        """All that is stored, signed and encrypted, by the permit of a second person.

        Raises:
            NotPermitted: without `audit:read`, or of one department only.
            PolicyRefused: SEC-04, no permit (kind `evidence_package`), a machine's account.
            InvalidRequest: as `preview`; a short passphrase, or more than 20,000 lines.
            NotFound: no such batch.
        """
        _require(who)
        meant, store = wanted_of(self._numbers, **wanted), self._store
        if len(passphrase) < _LEAST_PASSPHRASE:
            rule = f"must have at least {_LEAST_PASSPHRASE} characters"
            raise InvalidRequest(rule, field="passphrase")
        found = await store.write(lambda tx: _permitted(tx, who, meant, request_id))
        bundle = await store.read(lambda conn: self._bundle(store.view(conn), who, meant, found))
        sealed = await asyncio.to_thread(_seal, bundle, passphrase)
        digest = hashlib.sha256(sealed).hexdigest()
        facts = {"sha256": digest, "policy": "SEC-12"}
        await store.write(
            lambda tx: tx.audit(who.name, "evidence.packed", found.subject, {**facts})
        )
        return replace(
            found,
            sha256=digest,
            audit_key=self._key.public_octets().hex(),
            package=base64.b64encode(sealed).decode(),
        )

    def _bundle(self, tx: Tx, who: Principal, wanted: NewHold, found: PackageView) -> bytes:
        files = {
            f"{name}.jsonl": "".join(
                json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in objects
            ).encode()
            for name, objects in rows.read_files(tx, wanted).items()
        }
        manifest = json.dumps(
            {
                "site": self._site_id,
                "node": tx.node_id,
                "subject": found.subject,
                "made_at": tx.now.isoformat(),
                "made_by": who.name,
                "files": {name: hashlib.sha256(one).hexdigest() for name, one in files.items()},
            },
            sort_keys=True,
        ).encode()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_MANIFEST, manifest)
            archive.writestr(_SIGNATURE, self._key.sign(manifest))
            for name, octets in files.items():
                archive.writestr(name, octets)
        return out.getvalue()


def open_package(sealed: bytes, *, passphrase: str, audit_public_key: bytes) -> Mapping[str, bytes]:
    """The files of a package, after its signature and every digest were checked.

    Raises:
        InvalidRequest: no package, a wrong passphrase, altered, or signed by another site.
    """
    if not sealed.startswith(_MAGIC):
        raise InvalidRequest("is no evidence package", field="file")
    salt, rest = _split(sealed[len(_MAGIC) :], _SALT_OCTETS)
    nonce, body = _split(rest, _NONCE_OCTETS)
    try:
        bundle = AESGCM(_key(passphrase, salt)).decrypt(nonce, body, _MAGIC)
    except (InvalidTag, ValueError):
        raise InvalidRequest("wrong passphrase, or the file was altered", field="file") from None
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = files[_MANIFEST]
    try:
        public_key(audit_public_key).verify(files[_SIGNATURE], manifest)
    except InvalidSignature:
        raise InvalidRequest("another site's audit key has signed it", field="file") from None
    for name, digest in json.loads(manifest)["files"].items():
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest:
            raise InvalidRequest(f"{name} is not as the manifest says", field="file")
    return files


def _require(who: Principal) -> None:
    who.require(Scope.AUDIT_READ)
    who.require_all_departments()
    who.require_person("SEC-12")


def _permitted(tx: Tx, who: Principal, wanted: NewHold, request_id: str | None) -> PackageView:
    found = _look(tx, wanted)
    if found.n_lines > _MAX_LINES:
        cure = "ask for its batches one by one, or a shorter period"
        raise InvalidRequest(f"has more than {_MAX_LINES} lines", field="kind", cure=cure)
    dual.take(tx, who, request_id, kind=DualKind.EVIDENCE_PACKAGE, subject=found.subject)
    facts = {"request": request_id or "", "source": who.source, "policy": "SEC-12"}
    tx.audit(who.name, "evidence.package", found.subject, {"n_lines": found.n_lines, **facts})
    return found


def _look(tx: Tx, wanted: NewHold) -> PackageView:
    if wanted.batch_id is not None and find_batch(tx.conn, wanted.batch_id) is None:
        raise NotFound("no such batch", field="batch_id", value=wanted.batch_id[:40])
    return PackageView(subject=rows.subject_of(tx, wanted), n_lines=rows.count_lines(tx, wanted))


def _seal(bundle: bytes, passphrase: str) -> bytes:
    salt, nonce = os.urandom(_SALT_OCTETS), os.urandom(_NONCE_OCTETS)
    body = AESGCM(_key(passphrase, salt)).encrypt(nonce, bundle, _MAGIC)
    return _MAGIC + salt + nonce + body


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())


def _split(octets: bytes, at: int) -> tuple[bytes, bytes]:
    return octets[:at], octets[at:]
