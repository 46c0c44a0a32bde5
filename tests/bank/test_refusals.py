"""Nothing unapproved reaches a modem: the real daemon on a simulated bank, judged by its ledger.

Each case is a batch that runs as far as its row says, with evidence that somebody who may write to
the database could have put there. A sound batch stands behind them in the queue: when it has left,
the modems have had their chance at all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select, text, update

from modemctl.lifecycle import BatchState
from modemctl.model import BatchId, Decision
from modemctl.policy.approvals import SignedApproval, sign_approval
from modemctl.store import authorities, evidence
from modemctl.store.tables import approval, batch, message
from modemctl.store.transaction import Tx
from tests.support.approved import SALES, Staff, add_batch, numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

N_EACH = 3
SOUND = numbers(40, start=900_000)
HOUR = timedelta(hours=1)


def digest_of(tx: Tx, batch_id: BatchId) -> bytes:
    return tx.conn.scalar(select(batch.c.digest).where(batch.c.batch_id == batch_id))


def put_signature(tx: Tx, batch_id: BatchId, jws: str, *, kid: str, account_id: str) -> None:
    """Put a signature in the place of the first step's; its row is in order, MAC and all."""
    tx.conn.execute(delete(approval).where(approval.c.batch_id == batch_id))
    signed = SignedApproval(
        step=1, kid=kid, account_id=account_id, jws=jws, received_at=tx.now.replace(microsecond=0)
    )
    evidence.add_approval(tx, batch_id=batch_id, approval=signed, decision=Decision.APPROVE)


def sign(tx: Tx, staff: Staff, batch_id: BatchId, **changes: object) -> None:
    """Sign a batch's first step anew, with what is changed about it."""
    person = changes.pop("person", staff.approvers["manager"])
    values = {
        "kid": person.kid,
        "digest": digest_of(tx, batch_id),
        "batch_id": batch_id,
        "step": 1,
        "approver": person.account_id,
        "issued_at": tx.now,
        "expires_at": tx.now + 20 * HOUR,
    }
    jws = sign_approval(changes.pop("seed", person.seed), **{**values, **changes})
    put_signature(tx, batch_id, jws, kid=person.kid, account_id=person.account_id)


# ---------------------------------------------------------------- the cases


def unapproved(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    tx.conn.execute(delete(approval).where(approval.c.batch_id == batch_id))


def wrongly_signed(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    sign(tx, staff, batch_id, seed=bytes(range(32)))


def expired(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    sign(tx, staff, batch_id, issued_at=tx.now - 2 * HOUR, expires_at=tx.now - HOUR)


def self_approved(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    authorities.add_authorisation(
        tx,
        kind="manager",
        department=SALES,
        account_id=staff.drafter.account_id,
        valid_from=tx.now - HOUR,
        valid_until=tx.now + 24 * HOUR,
        granted_by=staff.checker.account_id,
    )
    sign(tx, staff, batch_id, person=staff.drafter)


def replayed_row(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    other = add_batch(tx, staff, numbers(1, start=800_000), state=BatchState.APPROVED)
    row = tx.conn.execute(select(approval).where(approval.c.batch_id == other)).mappings().one()
    tx.conn.execute(delete(approval).where(approval.c.batch_id == batch_id))
    tx.conn.execute(insert(approval).values({**row, "batch_id": batch_id}))


def replayed_signature(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    other = add_batch(tx, staff, numbers(1, start=810_000), state=BatchState.APPROVED)
    row = tx.conn.execute(select(approval).where(approval.c.batch_id == other)).one()
    put_signature(tx, batch_id, row.jws, kid=row.kid, account_id=row.account_id)


def change(column: str, expression: str, table: str = "batch") -> Callable[..., None]:
    """One octet of a column changed."""

    def act(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
        statement = text(f"UPDATE {table} SET {column} = {expression} WHERE batch_id = :id")
        assert tx.conn.execute(statement, {"id": batch_id}).rowcount

    return act


def changed_lines(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    """The last octet of each sealed line."""
    own = select(message).where(message.c.batch_id == batch_id)
    for row in tx.conn.execute(own).all():
        octets = row.line_enc[:-1] + bytes([row.line_enc[-1] ^ 1])
        one = update(message).where(message.c.message_id == row.message_id)
        tx.conn.execute(one.values(line_enc=octets))


def swapped_lines(tx: Tx, staff: Staff, batch_id: BatchId) -> None:
    """Each recipient's line sealed anew by who holds the key, but not as it was approved."""
    own = select(message).where(message.c.batch_id == batch_id)
    for row in tx.conn.execute(own).all():
        octets = evidence.open_line(tx.vault, batch_id, row.line_no, row.line_enc)
        other = octets.replace(b'"+86138', b'"+86139')
        sealed = evidence.seal_line(tx.vault, batch_id, row.line_no, other)
        one = update(message).where(message.c.message_id == row.message_id)
        tx.conn.execute(one.values(line_enc=sealed))


@dataclass(frozen=True)
class Case:
    """What is done to a batch, the rule that stops it, and whether the whole batch is held."""

    spoil: Callable[[Tx, Staff, BatchId], None]
    policy: str = "SMS-01"
    is_held: bool = True


_LAST = "substr({0}, 1, length({0}) - 1) || {1}"
CASES = {
    "not approved": Case(unapproved),
    "wrongly signed": Case(wrongly_signed),
    "expired": Case(expired),
    "self-approved": Case(self_approved, policy="SMS-11"),
    "replayed row": Case(replayed_row),
    "replayed signature": Case(replayed_signature),
    "changed text": Case(change("template", _LAST.format("template", "'0'"))),
    "changed header": Case(change("header", "CAST(replace(header, 'Hell', 'Hall') AS BLOB)")),
    "changed window": Case(change("not_after", "not_after + 1")),
    "changed signature": Case(change("jws", _LAST.format("jws", "'x'"), "approval")),
    "changed confirmation": Case(change("digest", "zeroblob(32)", "confirmation")),
    "changed leaves": Case(
        change("leaves", "CAST(substr(leaves, 2) || x'00' AS BLOB)", "batch_chunk"), is_held=False
    ),
    "changed lines": Case(changed_lines, is_held=False),
    "swapped lines": Case(swapped_lines, is_held=False),
}


@dataclass(frozen=True)
class Outcome:
    """What the store and the network say when the sound batch has left."""

    batches: dict[str, tuple[str, str]]  # case → state, reason
    segments: dict[str, list[tuple[str, str | None]]]  # case → state, cause
    taken: set[str]  # numbers that the network got something for


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("refusals")
    with BankProcess(folder / "bank", "--modems", "4") as bank:
        site = Site(folder / "site", f"{folder}/bank/ports/*")
        site.add_cards(bank.folder)
        staff, ids = site.staff, {}
        for index, (name, case) in enumerate(CASES.items()):
            ids[name] = site.add_batch(numbers(N_EACH, start=1_000 * index))
            site.write(lambda tx, case=case, one=ids[name]: case.spoil(tx, staff, one))
        sound = site.add_batch(SOUND)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(
                lambda: (
                    len(bank.ledger(kind="submit")) >= len(SOUND)
                    and not site.query(
                        "SELECT 1 FROM batch JOIN segment USING (batch_id)"
                        " WHERE batch.state = 'running' AND segment.state IN"
                        " ('queued', 'leased', 'submitting') AND batch_id <> ?",
                        sound,
                    )
                ),
                what="the sound batch has left and the others are decided",
            )
        yield Outcome(
            batches={
                name: site.query("SELECT state, reason FROM batch WHERE batch_id = ?", one)[0]
                for name, one in ids.items()
            },
            segments={
                name: site.query("SELECT state, cause FROM segment WHERE batch_id = ?", one)
                for name, one in ids.items()
            },
            taken={str(line["destination"]) for line in bank.ledger(kind="submit")},
        )


@pytest.mark.parametrize("name", CASES)
def test_nothing_leaves_and_the_refusal_names_the_rule(outcome: Outcome, name: str):
    case = CASES[name]
    index = list(CASES).index(name)
    state, reason = outcome.batches[name]
    segments = outcome.segments[name]
    assert not outcome.taken & set(numbers(N_EACH, start=1_000 * index))
    if case.is_held:
        assert state == BatchState.HELD
        assert f"policy: {case.policy}" in reason
        assert [one for one, _ in segments] == ["queued"] * N_EACH
    else:
        assert segments == [("refused", f"policy:{case.policy}")] * N_EACH


def test_the_sound_batch_left_and_nothing_else(outcome: Outcome):
    assert outcome.taken == set(SOUND)
