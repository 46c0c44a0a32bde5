"""Every sealed row, held against its seal: the rows that authorise, and what the vault encrypted.

One table, `SEALED`, says who reads which: a table with a MAC that is missing there fails a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from sqlalchemy import Connection, Select, Table, func, select

from modemctl.errors import TamperedError
from modemctl.lifecycle import BatchState
from modemctl.model import Bay
from modemctl.policy.approvals import stated_by
from modemctl.policy.digest import decode_header, header_digest
from modemctl.policy.stops import StopMemory
from modemctl.store import (
    accounts,
    admissions,
    audit_keys,
    authorities,
    backups,
    custody,
    customers,
    departments,
    dual,
    elevations,
    erasures,
    exports,
    handovers,
    holds,
    identities,
    incidents,
    optouts,
    papers,
    parties,
    pins,
    policies,
    purges,
    qualifications,
    sims,
    site_time,
    steady,
    stop_book,
    ties,
    violations,
    webhooks,
)
from modemctl.store.engine import UNREADABLE, readable_cells
from modemctl.store.evidence import read_evidence
from modemctl.store.puks import is_intact as is_puk_intact
from modemctl.store.tables import (
    account,
    admission,
    api_key,
    approver_key,
    authorisation,
    backup,
    backup_act,
    batch,
    bay_tie,
    customer_import,
    customer_seal,
    department,
    dual_request,
    elevation,
    erasure,
    export_note,
    handover,
    incident,
    legal_hold,
    opt_out,
    paper,
    party_approval,
    policy_version,
    puk_request,
    purge_run,
    qualification,
    sim,
    stop,
    stop_seal,
    text_use,
    violation_case,
    webhook,
)
from modemctl.store.tables import custody as custody_table
from modemctl.store.texts import is_intact as is_use_intact
from modemctl.vault import Vault

_PAGE: Final = 500
_WITHOUT_LIST: Final = (BatchState.DRAFT, BatchState.WITHDRAWN, BatchState.EXPIRED)
"""States of a batch whose list never was complete: nothing of it can be approved."""

_Check: TypeAlias = Callable[[Connection, Vault, str], bool]
"""Whether the row of this key is as modemctl wrote it; may raise TamperedError instead."""


def broken_seals(conn: Connection, vault: Vault) -> Iterator[str]:
    """Yield one line for each sealed row that modemctl did not write as it stands."""
    check, has_more = SealCheck(vault), True
    while has_more:
        faults, has_more = check.step(conn)
        yield from faults


class SealCheck:
    """Holds every sealed row against its seal, page by page: no snapshot keeps the log's pages.

    A seal speaks of one row; so pages of different moments say as much as one moment would, but of
    a register's customers, which are one page.
    """

    def __init__(self, vault: Vault, *, page: int = _PAGE) -> None:
        self._vault = vault
        self._page = page
        self._tables = list(SEALED)
        self._after: object = None
        self._rows_of: int | None = None
        self.done = 0

    @property
    def of(self) -> int:
        """How many rows there are to look at, about."""
        return max(self._rows_of or 0, self.done)

    def step(self, conn: Connection) -> tuple[list[str], bool]:
        """A line for each row of the next page that is none of ours; whether there are more."""
        faults: list[str] = []
        if self._rows_of is None:
            self._rows_of = _count(conn, self._tables)
            faults += steady.altered_anchors(conn, self._vault)
            faults += site_time.altered_site_time(conn, self._vault)
            faults += audit_keys.altered_keys(conn, self._vault)
            if conn.scalar(select(stop_seal.c.version)) is None:
                faults.append("stop_seal: the row is missing, so nobody knows which stops stand")
        left = self._page
        while self._tables and left > 0:
            table = self._tables[0]
            keys, after = _keys(conn, table, after=self._after, limit=left)
            faults += self._judge(conn, table, keys)
            self.done += len(keys)
            left -= len(keys)
            self._after = after
            if after is None:
                del self._tables[0]
        return faults, bool(self._tables)

    def _judge(self, conn: Connection, table: Table, keys: Sequence[str]) -> Iterator[str]:
        check = SEALED[table]
        for key in keys:
            try:
                with readable_cells():
                    is_ours = check(conn, self._vault, key)
            except UNREADABLE:
                is_ours = False
            if not is_ours:
                yield f"{table.name} {_shown(key)}: the row was not written by modemctl"


def named(what: str, lines: Iterator[str]) -> Iterator[str]:
    """The lines; where they stop at cells that nobody can read, one that says so."""
    try:
        with readable_cells():
            yield from lines
    except UNREADABLE:
        yield f"{what}: a row holds what modemctl never wrote"


def _count(conn: Connection, tables: Iterable[Table]) -> int:
    counts = (conn.scalar(select(func.count()).select_from(table)) for table in tables)
    return sum(n or 0 for n in counts)


def _keys(
    conn: Connection, table: Table, *, after: object, limit: int
) -> tuple[Sequence[str], object]:
    """The next keys of a table, and after which to go on; None: these are the last.

    A key that modemctl never wrote may stand in no order that can be asked for again: where the
    page is not what its last key says, it has all the rest.
    """
    (key,) = table.primary_key.columns
    statement = select(key).order_by(key)
    if after is not None:
        statement = statement.where(key > after)
    found = _scalars(conn, statement.limit(limit))
    if len(found) < limit:
        return found, None
    until = statement.where(key <= found[-1]).subquery()
    if conn.scalar(select(func.count()).select_from(until)) != len(found):
        return _scalars(conn, statement), None
    return found, found[-1]


def _scalars(conn: Connection, statement: Select[str]) -> Sequence[str]:
    try:
        with readable_cells():
            return conn.scalars(statement).all()
    except TamperedError:  # a text that is none: from now on it reads, as a key of no row
        return conn.scalars(statement).all()


def _shown(key: object) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)[:80]


def _account(conn: Connection, vault: Vault, key: str) -> bool:
    return accounts.find_account(conn, vault, key) is not None


def _api_key(conn: Connection, vault: Vault, key: str) -> bool:
    return accounts.find_key(conn, vault, key) is not None


def _approver_key(conn: Connection, vault: Vault, key: str) -> bool:
    return authorities.find_approver_key(conn, vault, key) is not None


def _authorisation(conn: Connection, vault: Vault, key: str) -> bool:
    return authorities.find_authorisation(conn, vault, int(key)) is not None


def _bay_tie(conn: Connection, vault: Vault, key: str) -> bool:
    found = ties.read_many(conn, vault, bays=[key])
    return found.by_bay[Bay(key)].is_intact


def _admission(conn: Connection, vault: Vault, key: str) -> bool:
    found = admissions.read(conn, vault, key)
    return found is not None and found.is_intact


def _puk_request(conn: Connection, vault: Vault, key: str) -> bool:
    rows = conn.execute(select(*puk_request.c).where(puk_request.c.request_id == key)).mappings()
    row = rows.one()
    if row["puk_enc"] is not None:
        vault.decrypt(row["puk_enc"], place=f"puk_request.puk_enc:{key}")
    return is_puk_intact(vault, row)


def _dual_request(conn: Connection, vault: Vault, key: str) -> bool:
    return dual.find(conn, vault, key) is not None


def _handover(conn: Connection, vault: Vault, key: str) -> bool:
    return handovers.find(conn, vault, key) is not None


def _incident(conn: Connection, vault: Vault, key: str) -> bool:
    return incidents.find(conn, vault, key) is not None


def _violation_case(conn: Connection, vault: Vault, key: str) -> bool:
    """The row, and that its evidence stands in the log as it stood."""
    found = violations.find(conn, vault, key)
    return found is not None and violations.is_proved(conn, found)


def _stop(conn: Connection, vault: Vault, key: str) -> bool:
    return stop_book.find(conn, vault, key) is not None


def _stop_seal(conn: Connection, vault: Vault, key: str) -> bool:
    del key
    return not stop_book.standing(conn, vault, StopMemory()).distrust


def _sim(conn: Connection, vault: Vault, key: str) -> bool:
    """The row, its numbers, and PINs that are no other card's."""
    row = conn.execute(select(*sim.c).where(sim.c.iccid == key)).mappings().one()
    sims.check_row(vault, row)
    identities.read(vault, {**row})
    if row["number_enc"] is not None:
        number = vault.decrypt_text(row["number_enc"], place=sims.number_place(key))
        if row["number_bidx"] != vault.blind_index(number):
            return False
    elif row["number_bidx"] is not None:
        return False
    for column, place in (("pin_enc", pins.pin_place), ("pin_pending_enc", pins.pending_place)):
        if row[column] is not None:
            vault.decrypt(row[column], place=place(key))
    return True


def _custody(conn: Connection, vault: Vault, key: str) -> bool:
    return custody.is_intact(conn, vault, int(key))


def _batch(conn: Connection, vault: Vault, key: str) -> bool:
    """State, confirmations, approvals, and the digest over the header."""
    row = conn.execute(select(*batch.c).where(batch.c.batch_id == key)).mappings().one()
    if row["header"] is None:
        return row["digest"] is None and row["state"] in _WITHOUT_LIST
    evidence = read_evidence(conn, vault, [row["batch_id"]])[row["batch_id"]]
    if isinstance(evidence, TamperedError) or row["digest"] != header_digest(row["header"]):
        return False
    header = decode_header(row["header"])
    totals = header.totals
    counts = (totals.n_messages, totals.n_removed, totals.n_segments)
    under = None if header.under is None else header.under.batch_id
    return (
        (evidence.stated, row["under"]) == (stated_by(header), under)
        and (row["batch_id"], row["party"]) == (header.batch_id, header.party)
        and (row["n_lines"], row["n_removed"], row["n_segments"]) == counts
    )


def _opt_out(conn: Connection, vault: Vault, key: str) -> bool:
    row = conn.execute(select(*opt_out.c).where(opt_out.c.number_bidx == key)).mappings().one()
    place = optouts.number_place(row["number_bidx"])
    number = vault.decrypt(row["number_enc"], place=place)
    if number == optouts.ERASED_NUMBER:
        return True
    return bool(row["number_bidx"] == vault.blind_index(number.decode()))


def _legal_hold(conn: Connection, vault: Vault, key: str) -> bool:
    found = holds.read(conn, vault, key)
    return found is not None and found.is_intact


def _purge_run(conn: Connection, vault: Vault, key: str) -> bool:
    row = conn.execute(select(*purge_run.c).where(purge_run.c.run_id == key)).mappings().one()
    return purges.is_intact(vault, row)


def _erasure(conn: Connection, vault: Vault, key: str) -> bool:
    row = conn.execute(select(*erasure.c).where(erasure.c.erasure_id == key)).mappings().one()
    return erasures.is_intact(vault, row)


def _text_use(conn: Connection, vault: Vault, key: str) -> bool:
    return is_use_intact(
        vault, conn.execute(select(text_use).where(text_use.c.batch_id == key)).one()
    )


def _policy_version(conn: Connection, vault: Vault, key: str) -> bool:
    query = select(policy_version).where(policy_version.c.version == int(key))
    return policies.is_intact(vault, conn.execute(query).mappings().one())


def _paper(conn: Connection, vault: Vault, key: str) -> bool:
    return papers.find(conn, vault, key) is not None


def _party_approval(conn: Connection, vault: Vault, key: str) -> bool:
    found = select(party_approval).where(party_approval.c.approval_id == key)
    return parties.is_intact(vault, conn.execute(found).one())


def _elevation(conn: Connection, vault: Vault, key: str) -> bool:
    return elevations.find(conn, vault, int(key)) is not None


def _export_note(conn: Connection, vault: Vault, key: str) -> bool:
    return bool(exports.find_many(conn, vault, [key]))


def _customer_import(conn: Connection, vault: Vault, key: str) -> bool:
    query = select(customer_import).where(customer_import.c.import_no == int(key))
    return customers.is_import_intact(vault, conn.execute(query).mappings().one())


def _customer_seal(conn: Connection, vault: Vault, key: str) -> bool:
    """The seal, and that the register holds the rows that it stands for."""
    return customers.is_register_intact(conn, vault, key)


def _department(conn: Connection, vault: Vault, key: str) -> bool:
    return departments.find(conn, vault, key) is not None


def _backup(conn: Connection, vault: Vault, key: str) -> bool:
    return backups.find(conn, vault, key) is not None


def _backup_act(conn: Connection, vault: Vault, key: str) -> bool:
    return backups.find_act(conn, vault, key) is not None


def _qualification(conn: Connection, vault: Vault, key: str) -> bool:
    return qualifications.find(conn, vault, key) is not None


def _webhook(conn: Connection, vault: Vault, key: str) -> bool:
    return webhooks.find(conn, vault, key) is not None


SEALED: Final[Mapping[Table, _Check]] = {
    account: _account,
    api_key: _api_key,
    approver_key: _approver_key,
    authorisation: _authorisation,
    batch: _batch,  # and its rows of `confirmation` and `approval`
    sim: _sim,
    custody_table: _custody,
    bay_tie: _bay_tie,
    admission: _admission,
    puk_request: _puk_request,
    dual_request: _dual_request,
    opt_out: _opt_out,
    incident: _incident,
    handover: _handover,
    violation_case: _violation_case,
    stop: _stop,
    stop_seal: _stop_seal,
    legal_hold: _legal_hold,
    purge_run: _purge_run,
    erasure: _erasure,
    text_use: _text_use,
    party_approval: _party_approval,
    policy_version: _policy_version,
    paper: _paper,
    elevation: _elevation,
    export_note: _export_note,
    qualification: _qualification,
    customer_import: _customer_import,
    customer_seal: _customer_seal,
    department: _department,
    webhook: _webhook,
    backup: _backup,
    backup_act: _backup_act,
}
"""Table → how a row of it is held against its seal."""
