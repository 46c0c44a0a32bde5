"""Who may approve and operate: approvers' public keys, authorisations (SMS-02 … SMS-06)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import rfc8785

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused
from modemctl.model import EventKind, Topic
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, stops
from modemctl.store import authorities as rows
from modemctl.store.accounts import Account, AccountKind, AccountState, find_account
from modemctl.store.authorities import (
    ALL_DEPARTMENTS,
    OPERATOR,
    Authorisation,
    RegisteredKey,
)
from modemctl.store.transaction import Json

__all__ = [
    "ALL_DEPARTMENTS",
    "LONGEST_AUTHORITY",
    "OPERATOR",
    "Authorisation",
    "Authorities",
    "RegisteredKey",
    "RevokeReason",
    "jwk_to_octets",
    "thumbprint",
]

LONGEST_AUTHORITY: Final = timedelta(days=366)
"""Longest life of an authorisation or of an approver's key."""

_KEY_OCTETS: Final = 32
_PRIME: Final = 2**255 - 19
_Y8: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_YS: Final = frozenset({0, 1, _PRIME - 1, _Y8, _PRIME - _Y8})
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_KEY_LIFE: Final = timedelta(days=365)


class RevokeReason(StrEnum):
    """Why an approver's key ends; a compromised one is an alarm."""

    COMPROMISED = "compromised"
    LOST = "lost"
    SUPERSEDED = "superseded"
    LEFT = "left"


class Authorities:
    """Keeps what lets people approve and send."""

    def __init__(self, store: Store, *, steps: Collection[str], general_department: str) -> None:
        """`steps` are the words of all configured chains of approval."""
        self._store = store
        self._general = general_department
        self._kinds = frozenset(steps) | {OPERATOR}

    # ------------------------------------------------------------ approvers' keys

    async def register_key(
        self,
        who: Principal,
        account_id: str,
        *,
        public_key: bytes,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> RegisteredKey:
        """Register a person's Ed25519 public key (32 octets); its `kid` is its RFC 7638 thumbprint.

        It counts from now and for a year, unless told otherwise.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: not a public key, or a span that cannot be.
            Conflict: the key is registered already, or the account is not an active person.
            PolicyRefused: SEC-01, one's own account.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        _not_oneself(who, account_id)
        if len(public_key) != _KEY_OCTETS:
            raise InvalidRequest("must be the 32 octets of an Ed25519 key", field="public_key")
        if _is_weak(public_key):
            raise InvalidRequest("must not be a point of small order", field="public_key")
        kid = thumbprint(public_key)

        def act(tx: Tx) -> RegisteredKey:
            begin = valid_from or tx.now
            end = valid_until or min(begin, _LATEST) + _KEY_LIFE
            _check_span(begin, end, tx.now)
            account = _person(self._visible(tx.conn, who, account_id))
            if rows.find_approver_key(tx.conn, tx.vault, kid) is not None:
                raise Conflict(
                    "this public key is registered already",
                    field="public_key",
                    cure="make a key pair that nobody else holds",
                    policy="CC-03",
                )
            tx.audit(
                who.name,
                "approver_key.register",
                kid,
                {"account": account.name, "until": _iso(end), "source": who.source},
            )
            return rows.add_approver_key(
                tx,
                kid=kid,
                account_id=account.account_id,
                public_key=public_key,
                valid_from=begin,
                valid_until=end,
            )

        return await self._store.write(act)

    async def keys(self, who: Principal, account_id: str) -> Sequence[RegisteredKey]:
        """All approver's keys of an account; one's own without any scope.

        Raises:
            NotPermitted: another's, without `accounts:read`.
            NotFound: no such account, or of a department that one does not see.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_READ)

        def query(conn: Connection) -> Sequence[RegisteredKey]:
            self._visible(conn, who, account_id)
            return rows.list_approver_keys(conn, self._store.vault, account_id)

        return await self._store.read(query)

    async def revoke_key(self, who: Principal, kid: str, *, reason: RevokeReason) -> RegisteredKey:
        """End a public key now; one ends one's own without any scope.

        What was approved with a lost or compromised one, and is not over, is held with it: it goes
        on when its steps are signed anew.

        Raises:
            NotPermitted: another's, without `accounts:write`.
            NotFound: no such key, or of a department that one does not see.
        """

        def act(tx: Tx) -> RegisteredKey:
            key = rows.find_approver_key(tx.conn, tx.vault, kid)
            if key is None or key.account_id != who.account_id:
                who.require(Scope.ACCOUNTS_WRITE)
            if key is None:
                raise NotFound("no such key", field="kid", value=kid[:80])
            account = self._visible(tx.conn, who, key.account_id)
            if key.revoked_at is not None:
                return key
            details = {"account": account.name, "reason": str(reason), "source": who.source}
            tx.audit(who.name, "approver_key.revoke", kid, {**details})
            if reason is not RevokeReason.SUPERSEDED:
                _hold_signed(tx, kid, account, reason, by=who.name)
            tx.wake(Topic.STOP)  # batches that rest on it are looked at before the next submit
            return rows.revoke_approver_key(tx, key, reason=reason)

        return await self._store.write(act)

    # ------------------------------------------------------------ authorisations

    async def authorise(
        self,
        who: Principal,
        *,
        account_id: str,
        kind: str,
        department: str,
        valid_from: datetime | None,
        valid_until: datetime,
        reference: str,
    ) -> Authorisation:
        """Let an account act as `kind` (operator, or a step of a chain) for a department.

        `department` `*` means all of them. It counts from now where `valid_from` is None.

        `reference` names the signed form (《操作员申请表》); it goes to the audit log.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: an unknown kind, a department or span that cannot be, no reference.
            Conflict: the account is not an active person.
            PolicyRefused: SEC-01, oneself; SMS-06, the department has an operator in that time.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        _not_oneself(who, account_id)
        self._check_kind(kind, department)
        if not reference.strip():
            raise InvalidRequest("must name the signed form", field="reference", policy="SMS-06")
        if not who.sees(department):
            raise NotFound("no such department", field="department", value=department[:80])

        def act(tx: Tx) -> Authorisation:
            begin = valid_from or tx.now
            _check_span(begin, valid_until, tx.now)
            account = _person(self._visible(tx.conn, who, account_id))
            if kind == OPERATOR:
                _check_only_operator(tx, account, department, begin, valid_until)
            new = rows.add_authorisation(
                tx,
                kind=kind,
                department=department,
                account_id=account.account_id,
                valid_from=begin,
                valid_until=valid_until,
                granted_by=who.account_id,
            )
            tx.audit(
                who.name,
                "authorisation.grant",
                str(new.authorisation_id),
                {
                    "account": account.name,
                    "kind": kind,
                    "department": department,
                    "from": _iso(begin),
                    "until": _iso(valid_until),
                    "reference": reference[:200],
                    "source": who.source,
                },
            )
            return new

        return await self._store.write(act)

    async def list(
        self,
        who: Principal,
        *,
        account_id: str | None = None,
        kind: str | None = None,
        department: str | None = None,
        cursor: str | None = None,
        limit: int,
    ) -> Page[Authorisation]:
        """Authorisations, past and present; those of one's own department or all.

        Raises:
            NotPermitted: without `accounts:read`, unless only one's own are asked for.
            InvalidRequest: a cursor that is not ours.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_READ)
            department = department if who.department is None else who.department
        after, vault = decode_number(cursor), self._store.vault
        found = await self._store.read(
            lambda conn: rows.list_authorisations(
                conn,
                vault,
                account_id=account_id,
                kind=kind,
                department=department,
                after=after,
                limit=limit,
            )
        )
        more = len(found) == limit
        return Page(items=found, next=encode_cursor(found[-1].authorisation_id) if more else None)

    async def withdraw(
        self, who: Principal, authorisation_id: int, *, reason: str
    ) -> Authorisation:
        """End an authorisation now; what runs on it is held and stops within a second.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such authorisation, or of a department that one does not see.
            InvalidRequest: no reason.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        if not reason.strip():
            raise InvalidRequest("must say why", field="reason", policy="SEC-05")

        def act(tx: Tx) -> Authorisation:
            one = rows.find_authorisation(tx.conn, tx.vault, authorisation_id)
            if one is None or not who.sees(one.department):
                raise NotFound(
                    "no such authorisation",
                    field="authorisation_id",
                    value=str(authorisation_id),
                )
            if one.revoked_at is not None:
                return one
            details = {"kind": one.kind, "department": one.department, "reason": reason[:200]}
            details["source"] = who.source
            tx.audit(who.name, "authorisation.withdraw", str(authorisation_id), {**details})
            tx.wake(Topic.STOP)
            after = rows.revoke_authorisation(tx, one)
            if one.is_in_force(tx.now):
                self._stop(tx, one, by=who.name)
            return after

        return await self._store.write(act)

    def _stop(self, tx: Tx, ended: Authorisation, *, by: str) -> None:
        """Hold what rested on an authorisation, unless another one carries it."""
        reason = f"authorisation {ended.authorisation_id} was withdrawn"
        account_id, kind, department = ended.account_id, ended.kind, ended.department
        if rows.is_authorised(
            tx.conn,
            tx.vault,
            account_id=account_id,
            kind=kind,
            department=department,
            at=tx.now,
        ):
            return
        if kind == OPERATOR:
            general = self._general
            stops.hold_operated(tx, department, general_department=general, by=by, reason=reason)
        else:
            stops.hold_approved(tx, account_id, by=by, reason=reason)

    def _visible(self, conn: Connection, who: Principal, account_id: str) -> Account:
        account = find_account(conn, self._store.vault, account_id)
        is_own = account_id == who.account_id
        if account is None or not (is_own or who.sees(account.department)):
            raise NotFound("no such account", field="account_id", value=account_id[:80])
        return account

    def _check_kind(self, kind: str, department: str) -> None:
        if kind not in self._kinds:
            raise InvalidRequest(
                "no such kind of authorisation",
                field="kind",
                value=kind[:80],
                cure=f"choose from {', '.join(sorted(self._kinds))}",
            )
        if not (0 < len(department) <= 128 and department.isprintable()):
            raise InvalidRequest("must be 1 to 128 printable characters", field="department")
        if kind == OPERATOR and department == ALL_DEPARTMENTS:
            raise InvalidRequest(
                "an operator is authorised for one department",
                field="department",
                policy="SMS-06",
            )


def jwk_to_octets(jwk: Mapping[str, object]) -> bytes:
    """The 32 octets of an Ed25519 public key in JWK form (RFC 8037).

    Raises:
        InvalidRequest: another kind of key, a malformed one, or a private one.
    """
    if "d" in jwk:
        raise InvalidRequest(
            "must be the public key alone",
            field="jwk",
            cure="this private key has been shown: make a new pair and send only its public key",
            policy="SEC-03",
        )
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise InvalidRequest("must be an Ed25519 key (kty OKP, crv Ed25519)", field="jwk")
    try:
        octets = base64.urlsafe_b64decode(f"{jwk.get('x')}==")
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != _KEY_OCTETS:
        raise InvalidRequest("x must be 32 octets in base64url", field="jwk")
    return octets


def thumbprint(public_key: bytes) -> str:
    """The RFC 7638 thumbprint of an Ed25519 public key: base64url of SHA-256, 43 characters."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public_key)}
    return _base64url(hashlib.sha256(rfc8785.dumps({**jwk})).digest())


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _person(account: Account) -> Account:
    if account.state is not AccountState.ACTIVE:
        raise Conflict(f"account {account.name} is {account.state}", cure="reactivate it")
    if account.kind is not AccountKind.PERSON:
        raise Conflict(f"account {account.name} is not a person", policy="CC-03")
    return account


def _not_oneself(who: Principal, account_id: str) -> None:
    if account_id == who.account_id:
        raise PolicyRefused("SEC-01", "nobody authorises himself", cure="ask another administrator")


def _hold_signed(tx: Tx, kid: str, account: Account, reason: RevokeReason, *, by: str) -> None:
    """Hold what was approved with a key that may be in foreign hands, and tell of it."""
    why = f"an approver's key of {account.name} was revoked: {reason}"
    held = stops.hold_signed(tx, kid, by=by, reason=why)
    if held or reason is RevokeReason.COMPROMISED:
        data: dict[str, Json] = {
            "alarm": "approver_key",
            "approver_key": reason,
            "kid": kid,
            "held": list(held),
        }
        tx.event(EventKind.ALARM, f"account:{account.name}", data)


def _is_weak(public_key: bytes) -> bool:
    """Whether everybody can sign for a key: its point is of small order."""
    y = int.from_bytes(public_key, "little") & ((1 << 255) - 1)
    return y % _PRIME in _SMALL_ORDER_YS


def _check_span(valid_from: datetime, valid_until: datetime, now: datetime) -> None:
    for field, moment in (("valid_from", valid_from), ("valid_until", valid_until)):
        if not _EARLIEST <= moment <= _LATEST:  # near datetime's ends zones cannot be changed
            raise InvalidRequest("must lie within 2000 and 2200", field=field)
    if not (valid_from < valid_until and now < valid_until):
        raise InvalidRequest("must lie after its beginning and after now", field="valid_until")
    if valid_until - valid_from > LONGEST_AUTHORITY:
        raise InvalidRequest(
            f"may last {LONGEST_AUTHORITY.days} days at most", field="valid_until", policy="SEC-01"
        )


def _check_only_operator(
    tx: Tx, account: Account, department: str, valid_from: datetime, valid_until: datetime
) -> None:
    """One operator a department at a time; a deputy takes over by a dated hand-over (SMS-06)."""
    held = rows.list_authorisations(tx.conn, tx.vault, kind=OPERATOR, department=department)
    for one in held:
        is_overlap = one.valid_from < valid_until and valid_from < one.valid_until
        if one.revoked_at is None and is_overlap and one.account_id != account.account_id:
            raise PolicyRefused(
                "SMS-06",
                f"department {department} has an operator until {_iso(one.valid_until)}",
                field="department",
                cure=f"withdraw authorisation {one.authorisation_id}, or begin after it ends",
            )
