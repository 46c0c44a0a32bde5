"""What approvals stand on, read for checking: headers, confirmations, signatures, lines."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, Row, String, bindparam, delete, insert, or_, select, text, update

from modemctl.errors import PolicyRefused, TamperedError
from modemctl.lifecycle import BatchState
from modemctl.model import AccountId, BatchId, Decision, MessageId
from modemctl.policy.approvals import (
    ApproverKey,
    Authority,
    BatchEvidence,
    Confirmation,
    LineEvidence,
    SignedApproval,
    Stated,
)
from modemctl.policy.digest import chunk_of
from modemctl.store.authorities import (
    Authorisation,
    authorisations_of,
    read_approver_keys,
)
from modemctl.store.engine import UNREAD, UNREADABLE
from modemctl.store.prepared import Change, Prepared
from modemctl.store.tables import approval as approval_table
from modemctl.store.tables import audit_entry, batch_chunk, to_ms
from modemctl.store.tables import batch as batch_table
from modemctl.store.tables import confirmation as confirmation_table
from modemctl.store.tables import message as message_table
from modemctl.store.tables.evidence import OF_ENDS
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

ERASED_LINE: Final = b"{}"
"""What stands sealed where a line was erased; no leaf fits it, so it can never be sent."""

_HARMLESS = frozenset({"superseded", "left"})  # all else, also an unknown reason, is distrust


def read_evidence(
    conn: Connection, vault: Vault, batch_ids: Collection[BatchId]
) -> Mapping[BatchId, BatchEvidence | TamperedError]:
    """The evidence of frozen batches; unknown and unfrozen ones are left out.

    A batch of which a row carries no valid MAC comes as the error itself: refuse it.
    """
    rows = _frozen(conn, batch_ids)
    under = {row.under for row in rows if row.under is not None}
    above = dict(_read(conn, vault, _frozen(conn, under)))
    above |= _put_back(conn, above)
    return _read(conn, vault, rows, above)


def _frozen(conn: Connection, batch_ids: Collection[str]) -> Sequence[Row[tuple[object, ...]]]:
    if not batch_ids:
        return ()
    return _FROZEN.rows(conn, {"ids": sorted(batch_ids)})


def _read(
    conn: Connection,
    vault: Vault,
    rows: Sequence[Row[tuple[object, ...]]],
    above: Mapping[BatchId, BatchEvidence | TamperedError] = MappingProxyType({}),
) -> Mapping[BatchId, BatchEvidence | TamperedError]:
    """The evidence of these rows; `above` is that of the standing approvals they go under."""
    found = [BatchId(row.batch_id) for row in rows]
    if not found:
        return {}
    confirmations = _by_batch(_CONFIRMED.rows(conn, {"ids": found}))
    approvals = _by_batch(_SIGNED.rows(conn, {"ids": found}))
    evidence: dict[BatchId, BatchEvidence | TamperedError] = {}
    for row in rows:
        batch_id = BatchId(row.batch_id)
        try:
            evidence[batch_id] = _evidence(
                conn, vault, row, confirmations.get(batch_id, ()), approvals.get(batch_id, ())
            )
            evidence[batch_id] = _under(vault, row, evidence[batch_id], above)
        except TamperedError as error:
            evidence[batch_id] = error
        except UNREADABLE:
            evidence[batch_id] = TamperedError(f"batch {batch_id}: {UNREAD}")
    return evidence


def read_for_next(conn: Connection, vault: Vault, batch_id: BatchId, *, kid: str) -> BatchEvidence:
    """A batch's evidence, with the key of `kid` and what its owner may do added.

    Raises:
        PolicyRefused: SMS-01, the batch is not frozen or a row of it carries no valid MAC.
    """
    known = read_evidence(conn, vault, [batch_id]).get(batch_id)
    if known is None:
        raise PolicyRefused("SMS-01", "the batch's list is not complete")
    try:
        if isinstance(known, TamperedError):
            raise known
        keys = {**known.keys, **read_keys(conn, vault, [kid])}
        authorities = read_authorities(conn, vault, (key.account_id for key in keys.values()))
    except TamperedError as error:
        raise PolicyRefused("SMS-01", str(error)) from error
    return replace(known, keys=keys, authorities=authorities)


def read_keys(conn: Connection, vault: Vault, kids: Collection[str]) -> dict[str, ApproverKey]:
    """Approvers' keys by id; unknown and forged ones are left out."""
    return {
        kid: ApproverKey(
            kid=kid,
            account_id=one.account_id,
            public_key=one.public_key,
            valid_from=one.valid_from,
            valid_until=one.valid_until,
            revoked_at=one.revoked_at,
            is_distrusted=one.revoked_at is not None and one.revoke_reason not in _HARMLESS,
        )
        for kid, one in read_approver_keys(conn, vault, kids).items()
    }


def read_authorities(
    conn: Connection, vault: Vault, account_ids: Iterable[str]
) -> tuple[Authority, ...]:
    """What these accounts are or were authorised to do.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    return tuple(as_authority(one) for one in authorisations_of(conn, vault, set(account_ids)))


def as_authority(one: Authorisation) -> Authority:
    """A registered authorisation as the approvals' rules know it."""
    return Authority(
        kind=one.kind,
        department=one.department,
        account_id=one.account_id,
        valid_from=one.valid_from,
        valid_until=one.valid_until,
        revoked_at=one.revoked_at,
    )


def read_lines(
    conn: Connection, vault: Vault, message_ids: Collection[MessageId]
) -> Mapping[MessageId, LineEvidence | TamperedError]:
    """Stored lines with their chunks; a line that was changed or moved comes as the error."""
    rows = _LINES.rows(conn, {"ids": list(message_ids)})
    own = [row for row in rows if isinstance(row.line_no, int)]
    leaves = _chunks(conn, {(row.batch_id, chunk_of(row.line_no)) for row in own})
    salts = {
        row.batch_id: vault.batch_salt(row.under or row.batch_id, row.salt_nonce)
        for row in rows
        if row.salt_nonce is not None
    }
    odd = {MessageId(row.message_id) for row in rows} - {MessageId(row.message_id) for row in own}
    lines: dict[MessageId, LineEvidence | TamperedError] = {
        message_id: TamperedError(f"message {message_id}: {UNREAD}") for message_id in odd
    }
    for row in own:
        message_id = MessageId(row.message_id)
        try:
            octets = open_line(vault, row.batch_id, row.line_no, row.line_enc)
        except TamperedError as error:
            lines[message_id] = error
            continue
        lines[message_id] = LineEvidence(
            batch_id=BatchId(row.batch_id),
            line_no=row.line_no,
            line=octets,
            chunk_leaves=leaves.get((row.batch_id, chunk_of(row.line_no)), b""),
            salt=salts.get(row.batch_id, b""),
        )
    return lines


def seal_line(vault: Vault, batch_id: str, line_no: int, octets: bytes) -> bytes:
    """A line's octets, encrypted for their row."""
    return vault.encrypt(octets, place=line_place(batch_id, line_no))


def open_line(vault: Vault, batch_id: str, line_no: int, sealed: bytes) -> bytes:
    """A line's octets.

    Raises:
        TamperedError: changed, or moved from another row.
    """
    return vault.decrypt(sealed, place=line_place(batch_id, line_no))


def line_place(batch_id: str, line_no: int) -> str:
    """Where a line stands, for the vault."""
    return f"message.line_enc:{batch_id}:{line_no}"


def state_values(tx: Tx, batch_id: str, to: BatchState) -> dict[str, object]:
    """The columns of a batch's new state, sealed.

    One whose state was not ours before stays unsealed, so that no later step makes it good.
    """
    before = _STATED.first(tx.conn, {"id": batch_id})
    is_ours = before is None or _is_state_ours(tx.vault, before)
    mac = _state_mac(tx.vault, batch_id, to, tx.now) if is_ours else None
    return {"state": to, "state_at": tx.now, "state_mac": mac}


def put_state(
    tx: Tx, batch_id: str, to: BatchState, *, allowed: Collection[BatchState], reason: str
) -> bool:
    """Set a batch's state, sealed, where it stands in one of the allowed ones; False elsewhere."""
    if not allowed:
        return False
    row = {**state_values(tx, batch_id, to), "reason": reason, "id": batch_id}
    return _moving(tuple(sorted(allowed))).run(tx.conn, [row]) > 0


def seal_states(conn: Connection, vault: Vault) -> None:
    """Seal the states of all batches: those of a database that had no seals yet."""
    columns = (batch_table.c.batch_id, batch_table.c.state, batch_table.c.state_at)
    seals = [
        {"id": row.batch_id, "seal": _state_mac(vault, row.batch_id, row.state, row.state_at)}
        for row in conn.execute(select(*columns))
    ]
    if seals:
        statement = update(batch_table).where(batch_table.c.batch_id == bindparam("id"))
        conn.execute(statement.values(state_mac=bindparam("seal")), seals)


def add_confirmation(tx: Tx, *, batch_id: BatchId, account_id: AccountId, digest: bytes) -> None:
    """Record that a second person has checked what this digest stands for (SEC-04)."""
    tx.conn.execute(
        insert(confirmation_table).values(
            batch_id=batch_id,
            account_id=account_id,
            at=tx.now,
            digest=digest,
            mac=tx.vault.mac("confirmation", batch_id, account_id, digest.hex()),
        )
    )


def drop_approval(tx: Tx, *, batch_id: BatchId, step: int) -> str:
    """Take away a step's signature, so that a new one can take its place; returns its key's id."""
    columns = approval_table.c
    own = (columns.batch_id == batch_id, columns.step == step)
    return str(tx.conn.scalars(delete(approval_table).where(*own).returning(columns.kid)).one())


def add_approval(
    tx: Tx, *, batch_id: BatchId, approval: SignedApproval, decision: Decision
) -> None:
    """Record an approver's signed word for a step."""
    tx.conn.execute(
        insert(approval_table).values(
            batch_id=batch_id,
            step=approval.step,
            kid=approval.kid,
            account_id=approval.account_id,
            decision=decision,
            jws=approval.jws,
            received_at=approval.received_at,
            mac=_approval_mac(tx.vault, batch_id, approval),
        )
    )


# ---------------------------------------------------------------- rows and MACs


def _evidence(
    conn: Connection,
    vault: Vault,
    row: Row[tuple[object, ...]],
    confirmations: Sequence[Row[tuple[object, ...]]],
    approvals: Sequence[Row[tuple[object, ...]]],
) -> BatchEvidence:
    if not _is_state_ours(vault, row):
        raise TamperedError(f"batch {row.batch_id}: its state was not set by modemctl")
    signed = tuple(_approval(vault, one) for one in approvals)
    return BatchEvidence(
        batch_id=BatchId(row.batch_id),
        header=row.header,
        stated=Stated(
            category=row.category,
            department=row.department,
            template=row.template,
            card_group=row.card_group,
            not_before=row.not_before,
            not_after=row.not_after,
            starts_itself=row.starts_itself,
            drafter=row.drafter,
            operator=row.operator,
            submitter=row.submitter,
        ),
        approvals=signed,
        keys=read_keys(conn, vault, {one.kid for one in signed}),
        authorities=read_authorities(conn, vault, (one.account_id for one in signed)),
        confirmations=tuple(_confirmation(vault, one) for one in confirmations),
        state=row.state,
    )


def _under(
    vault: Vault,
    row: Row[tuple[object, ...]],
    own: BatchEvidence | TamperedError,
    above: Mapping[BatchId, BatchEvidence | TamperedError],
) -> BatchEvidence | TamperedError:
    """A self-test's batch, with the evidence of the standing approval that it goes under."""
    if row.under is None and row.under_mac is None:
        return own
    if row.under_mac != under_mac(vault, row.batch_id, row.under, row.header):
        raise TamperedError(f"batch {row.batch_id}: what it goes under was changed")
    standing = above.get(BatchId(row.under))
    if isinstance(standing, TamperedError):
        raise standing
    assert isinstance(own, BatchEvidence), "just read"
    return replace(own, standing=standing)


def _put_back(
    conn: Connection, standing: Mapping[BatchId, BatchEvidence | TamperedError]
) -> Mapping[BatchId, TamperedError]:
    """Standing approvals that are in force by their rows, and not by the log.

    A sealed row of before, put back, looks well; the entry of what came after it stands in the
    signed chain.
    """
    found: dict[BatchId, TamperedError] = {}
    for batch_id, known in standing.items():
        if isinstance(known, TamperedError) or known.state != BatchState.APPROVED:
            continue
        if n_ends_told(conn, batch_id) > 0:
            found[batch_id] = TamperedError(
                f"standing approval {batch_id} was withdrawn or held, as the log says"
            )
    return found


def ends_told(conn: Connection, standing: str) -> tuple[str, ...]:
    """What the log says was done to a standing approval that ended it, or brought it back."""
    return tuple(sorted(map(str, _ENDS.column(conn, {"standing": standing}))))


def n_ends_told(conn: Connection, standing: str) -> int:
    """How many ends of a standing approval the log tells that no resume took back.

    One while it is held; more where a row of before was put back and then held or withdrawn too.
    """
    told = Counter(ends_told(conn, standing))
    return told.total() - 2 * told["batch.release"]


def under_mac(vault: Vault, batch_id: str, under: str | None, header: bytes) -> bytes:
    """Seals which standing approval a self-test's batch goes under, and the batch's header."""
    return vault.mac("batch.under", batch_id, under, hashlib.sha256(header).hexdigest())


def _is_state_ours(vault: Vault, row: Row[tuple[object, ...]]) -> bool:
    mac = _state_mac(vault, row.batch_id, row.state, row.state_at)
    return row.state_mac is not None and hmac.compare_digest(row.state_mac, mac)


def _state_mac(vault: Vault, batch_id: str, state: str, at: datetime) -> bytes:
    return vault.mac("batch", batch_id, str(state), to_ms(at))


def _confirmation(vault: Vault, row: Row[tuple[object, ...]]) -> Confirmation:
    fields = (row.batch_id, row.account_id, row.digest.hex())
    vault.check_mac(row.mac, "confirmation", *fields)
    return Confirmation(account_id=AccountId(row.account_id), digest=row.digest)


def _approval(vault: Vault, row: Row[tuple[object, ...]]) -> SignedApproval:
    approval = SignedApproval(
        step=row.step,
        kid=row.kid,
        account_id=AccountId(row.account_id),
        jws=row.jws,
        received_at=row.received_at,
    )
    if row.mac != _approval_mac(vault, row.batch_id, approval):
        raise TamperedError("approval: a row that authorises carries no valid MAC")
    return approval


def _approval_mac(vault: Vault, batch_id: str, approval: SignedApproval) -> bytes:
    signed = hashlib.sha256(approval.jws.encode()).hexdigest()
    return vault.mac(
        "approval",
        batch_id,
        approval.step,
        approval.kid,
        approval.account_id,
        signed,
        to_ms(approval.received_at),
    )


def _chunks(conn: Connection, wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
    return {
        (batch_id, chunk_no): row.leaves
        for batch_id, chunk_no in sorted(wanted)  # a few: who waits is served from few batches
        for row in _CHUNK.rows(conn, {"batch": batch_id, "no": chunk_no})
    }


def _by_batch(
    rows: Iterable[Row[tuple[object, ...]]],
) -> dict[str, list[Row[tuple[object, ...]]]]:
    found: dict[str, list[Row[tuple[object, ...]]]] = {}
    for row in rows:
        found.setdefault(row.batch_id, []).append(row)
    return found


@cache
def _moving(allowed: tuple[BatchState, ...]) -> Change:
    """The change of a batch's state from one of these; there are few such sets."""
    return Change(
        update(batch_table)
        .where(
            batch_table.c.batch_id == bindparam("id"),
            or_(*(batch_table.c.state == state.value for state in allowed)),
        )
        .values({name: bindparam(name) for name in ("state", "state_at", "state_mac", "reason")})
    )


_IDS: Final = bindparam("ids", type_=String, expanding=True)
_FROZEN: Final = Prepared(
    select(batch_table).where(batch_table.c.batch_id.in_(_IDS), batch_table.c.header.is_not(None))
)
_CONFIRMED: Final = Prepared(
    select(confirmation_table)
    .where(confirmation_table.c.batch_id.in_(_IDS))
    .order_by(confirmation_table.c.at)
)
_SIGNED: Final = Prepared(
    select(approval_table)
    .where(approval_table.c.batch_id.in_(_IDS))
    .order_by(approval_table.c.step)
)
_STATED: Final = Prepared(
    select(
        batch_table.c.batch_id, batch_table.c.state, batch_table.c.state_at, batch_table.c.state_mac
    ).where(batch_table.c.batch_id == bindparam("id"))
)
_CHUNK: Final = Prepared(
    select(batch_chunk.c.leaves).where(
        batch_chunk.c.batch_id == bindparam("batch"), batch_chunk.c.chunk_no == bindparam("no")
    )
)
_ENDS: Final = Prepared(
    select(audit_entry.c.action).where(
        text(OF_ENDS), audit_entry.c.subject == bindparam("standing")
    )
)
_LINES: Final = Prepared(
    select(
        message_table.c.message_id,
        message_table.c.batch_id,
        message_table.c.line_no,
        message_table.c.line_enc,
        batch_table.c.salt_nonce,
        batch_table.c.under,
    )
    .join(batch_table, batch_table.c.batch_id == message_table.c.batch_id)
    .where(message_table.c.message_id.in_(bindparam("ids", expanding=True)))
)
