"""The register of SIM cards: import, look up, verify, pause (`service.custody`: their lives)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from modemctl.errors import InvalidRequest, NotFound
from modemctl.lifecycle import CardState
from modemctl.model import EventKind, Iccid, Topic
from modemctl.policy.custody import Step
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.card_acts import change_card, note, register_cards, required
from modemctl.service.card_changes import (
    completion,
    differences,
    fault,
    handed_out,
    unregistered,
)
from modemctl.service.card_lists import CardLine, LineError, Reading, read_cards
from modemctl.service.identities import IdentityKind, entered, traces
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.service.recipients import ListFormat, Spooled
from modemctl.service.sim_views import SimView, unknown, view
from modemctl.store import Store, Tx, custody, identities, pin_changes, pins
from modemctl.store import sims as rows
from modemctl.store.pins import PinImport
from modemctl.store.sims import Card, NewCard, Ownership
from modemctl.store.transaction import Json

__all__ = ["CardImport", "CardState", "LineError", "Ownership", "PinImport", "SimView", "Sims"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardImport:
    """What became of a list of cards: all of it, or nothing where it has `errors`.

    `n_known` cards were registered before and are the same, but for what the list brings to
    `n_completed` of them that are not in use yet; `import_id` names the import of the
    PINs that are new, which a canary card has to prove. `n_pins_kept` PINs of the list were left
    out: the vault has changed them since, and its own are known nowhere else.
    """

    n_cards: int
    n_added: int
    n_known: int
    n_completed: int
    n_pins: int
    n_pins_kept: int
    import_id: str | None
    errors: Sequence[LineError]


class Sims:
    """Keeps the register; decides nothing that a modem does."""

    def __init__(self, store: Store, *, numbers: NumberRules, zone: ZoneInfo) -> None:
        """`numbers` says how phone numbers are read, `zone` how dates without one are."""
        self._store = store
        self._numbers = numbers
        self._zone = zone

    async def import_cards(
        self,
        who: Principal,
        source: Spooled,
        list_format: ListFormat,
        *,
        encoding: str | None = None,
        is_trial: bool = False,
    ) -> CardImport:
        """Register the cards of a list and put their PINs into the vault; all or none.

        A card that is registered already gets a new PIN at most. Once a card was issued step by
        step, no list hands cards out any more (SIM-02). `is_trial` changes nothing.

        Raises:
            NotPermitted: the scope is missing.
            InvalidRequest: no list of cards at all.
        """
        who.require(Scope.SIMS_WRITE)
        reading = Reading(
            numbers=self._numbers, zone=self._zone, by=who.name, now=self._store.clock.now()
        )
        lines, errors = await read_cards(source, list_format, reading, encoding=encoding)
        errors = [*errors, *_outside(who, lines)]
        act = _Import(who, lines, errors, is_trial=is_trial)
        return await self._store.write(act)

    async def list_sims(
        self,
        who: Principal,
        *,
        department: str | None = None,
        state: CardState | None = None,
        holder: str | None = None,
        number: str | None = None,
        identity_number: str | None = None,
        identity_kind: IdentityKind | None = None,
        card_group: str | None = None,
        bay: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[SimView]:
        """Cards in order of ICCID (SIM-03).

        Raises:
            NotPermitted, InvalidRequest: scope, a number or cursor.
        """
        who.require(Scope.SIMS_READ)
        if department is not None and not who.sees(department):
            return Page(items=[], next=None)
        query = rows.Query(
            department=who.department or department,
            state=state,
            holder=holder,
            number=None if number is None else self._read_number(number),
            card_group=card_group,
            bay=bay,
            identity=entered(identity_number, identity_kind),
        )
        after = decode_text(cursor)
        vault = self._store.vault
        found = await self._store.read(
            lambda conn: rows.find(conn, vault, query, after=after, limit=limit + 1)
        )
        more = encode_cursor(found[limit - 1].iccid) if len(found) > limit else None
        return Page(items=[view(card, who) for card in found[:limit]], next=more)

    async def show(self, who: Principal, iccid: str) -> SimView:
        """One card.

        Raises:
            NotPermitted: the scope is missing.
            NotFound: not registered, or of another department.
        """
        who.require(Scope.SIMS_READ)
        vault = self._store.vault
        card = await self._store.read(lambda conn: rows.read(conn, vault, iccid))
        if card is None or not who.sees(card.department):
            raise unknown(iccid)
        return view(card, who)

    async def verify(
        self,
        who: Principal,
        iccid: str,
        *,
        verified_by: str,
        identity_number: str | None = None,
        identity_kind: IdentityKind | None = None,
    ) -> SimView:
        """Note that `verified_by` checked whose number it is, by the holder's document (SIM-04).

        Raises:
            NotPermitted, InvalidRequest: scope, name or number of the document.
            NotFound: not registered, or of another department.
            PolicyRefused: SEC-05: altered row.
        """
        who.require(Scope.SIMS_WRITE)
        name = verified_by.strip()
        if not name or len(name) > 128:
            raise InvalidRequest("must have 1 to 128 characters", field="verified_by")

        identity = entered(identity_number, identity_kind)

        def act(tx: Tx, card: Card) -> None:
            rows.verify(tx, iccid, by=name, at=tx.now, identity=identity)
            details = {"verified_by": name, "policy": "SIM-04", **traces(card, identity)}
            note(tx, who, "sim.verify", iccid, details, step=Step.VERIFIED, reason=name)

        return await change_card(self._store, who, iccid, act)

    async def pause(self, who: Principal, iccid: str, reason: str) -> SimView:
        """Let a card send nothing until it is resumed; it goes on receiving.

        Raises:
            NotPermitted, InvalidRequest, NotFound, PolicyRefused: as `verify`.
        """
        return await self._set_paused(who, iccid, reason, is_paused=True)

    async def resume(self, who: Principal, iccid: str, reason: str) -> SimView:
        """Let a paused card send again.

        Raises:
            NotPermitted, InvalidRequest, NotFound, PolicyRefused: as `verify`.
        """
        return await self._set_paused(who, iccid, reason, is_paused=False)

    async def list_imports(self, who: Principal) -> Sequence[PinImport]:
        """The imports of PINs and how far each proved itself, newest first.

        An account of one department sees those that hold its cards alone.

        Raises:
            NotPermitted: the scope is missing.
        """
        who.require(Scope.SIMS_READ)
        department = who.department
        return await self._store.read(lambda conn: pins.read_imports(conn, department=department))

    async def resume_import(self, who: Principal, import_id: str, reason: str) -> None:
        """Let a stopped or hanging import of PINs begin again with a canary.

        Raises:
            NotPermitted, InvalidRequest: scope or reason.
            NotFound: no such import, or with cards of a department that one does not see.
            Conflict: it neither stopped nor waits.
        """
        who.require(Scope.SIMS_WRITE)
        why = required(reason)

        def act(tx: Tx) -> None:
            own = who.department
            if own is not None and not pins.is_import_of(tx.conn, import_id, own):
                raise NotFound("no such import of PINs", field="import_id", value=import_id[:80])
            pins.resume_import(tx, import_id)
            details = {"reason": why, "source": who.source, "policy": "SIM-06"}
            tx.audit(who.name, "pin_import.resume", import_id, details)

        await self._store.write(act)

    async def _set_paused(
        self, who: Principal, iccid: str, reason: str, *, is_paused: bool
    ) -> SimView:
        who.require(Scope.SIMS_WRITE)
        why = required(reason)

        def act(tx: Tx, _card: Card) -> None:
            if rows.set_paused(tx, iccid, is_paused=is_paused):
                action = "sim.pause" if is_paused else "sim.resume"
                note(tx, who, action, iccid, {"reason": why})

        return await change_card(self._store, who, iccid, act)

    def _read_number(self, number: str) -> str:
        found = normalise(number, self._numbers)
        if isinstance(found, Rejection):
            raise InvalidRequest(f"is no number of a mobile: {found}", field="number")
        return found


class _Import:
    """The transaction of an import: looks at the register, then writes all or nothing."""

    def __init__(
        self,
        who: Principal,
        lines: Sequence[CardLine],
        errors: Sequence[LineError],
        *,
        is_trial: bool,
    ) -> None:
        self._who = who
        self._lines = lines
        self._errors = list(errors)
        self._is_trial = is_trial

    def __call__(self, tx: Tx) -> CardImport:
        known = rows.read_many(tx.conn, tx.vault, [line.card.iccid for line in self._lines])
        self._errors += self._clashes(tx, known)
        self._errors += unregistered(tx, self._lines, known)
        if custody.is_open(tx.conn):
            self._errors += handed_out(self._lines, known)
        new = [line.card for line in self._lines if line.card.iccid not in known]
        given = {line.card.iccid: line.pin for line in self._lines if line.pin is not None}
        made = pin_changes.kept_by_vault(tx.conn, given)
        self._errors += _unsettled(self._lines, made)
        brought = {iccid: pin for iccid, pin in given.items() if iccid not in made}
        fresh = {} if self._errors else pins.changed(tx, brought)
        changed = [line for line in self._lines if completion(line, known)]
        is_done = not self._errors and not self._is_trial
        import_id = str(uuid.uuid4()) if is_done and fresh else None
        if is_done:
            rows.add(tx, new)
            for line in changed:
                self._complete(tx, line, known)
            if import_id is not None:
                pins.add_import(tx, import_id, fresh)
            self._leave_traces(tx, new, fresh, import_id)
        return CardImport(
            n_cards=len(self._lines),
            n_added=len(new),
            n_known=len(self._lines) - len(new),
            n_completed=len(changed),
            n_pins=len(fresh),
            n_pins_kept=0 if self._errors else len(made),
            import_id=import_id,
            errors=sorted(self._errors, key=lambda error: error.line_no),
        )

    def _clashes(self, tx: Tx, known: Mapping[Iccid, Card]) -> Sequence[LineError]:
        numbers = {line.card.number for line in self._lines if line.card.number is not None}
        owners = rows.holders_of_numbers(tx, numbers)
        found: list[LineError] = []
        for line in self._lines:
            owner = owners.get(line.card.number or "")
            if owner is not None and owner != line.card.iccid:
                found.append(fault(line, "number", "another card has this number", "SIM-01"))
            card = known.get(line.card.iccid)
            if card is not None:
                found += differences(line, card)
                if completion(line, known) and not self._who.sees(card.department):
                    found.append(fault(line, "department", "is not yours", "SEC-01"))
        return found

    def _complete(self, tx: Tx, line: CardLine, known: Mapping[Iccid, Card]) -> None:
        """Hand a card over that is not in use yet: holder, department, state (SIM-05)."""
        card = line.card
        changes = completion(line, known)
        if changes == {"identity"}:  # nobody else has it now
            rows.amend(tx, card.iccid, identities.columns_of(tx.vault, card.iccid, card.identity))
            facts = traces(known[card.iccid], card.identity)
            note(tx, self._who, "sim.identity", card.iccid, {**facts, "policy": "SIM-04"})
            return
        rows.hand_over(tx, card, changes)
        changed: list[Json] = [*sorted(changes)]
        details: dict[str, Json] = {"changed": changed}  # no name, no number in the log
        details |= {"state": card.state.value, "department": card.department}
        details |= traces(known[card.iccid], card.identity) if "identity" in changes else {}
        details["policy"] = "SIM-05"
        step, why = Step.HANDED_OVER, "by a list"
        note(tx, self._who, "sim.complete", card.iccid, details, step=step, reason=why)

    def _leave_traces(
        self, tx: Tx, added: Sequence[NewCard], fresh: Mapping[Iccid, str], import_id: str | None
    ) -> None:
        register_cards(tx, self._who, added)
        for card in added:
            tx.event(EventKind.SIM, card.iccid, {"added": True})
        if import_id is not None:
            tx.audit(
                self._who.name,
                "pin_import.add",
                import_id,
                {"n_cards": len(fresh), "source": self._who.source, "policy": "SIM-06"},
            )
        tx.wake(Topic.SIMS)


def _unsettled(lines: Sequence[CardLine], made: Mapping[str, bool]) -> Sequence[LineError]:
    """Cards that may have a PIN of the vault's, though it failed or was not proved yet."""
    rule = "the vault's own PIN of it is in doubt, and known nowhere else"
    cure = "restart its modem: the card may tell; else unblock it by its PUK: modemctl sims puk"
    return [
        fault(line, "pin", rule, "SIM-06", cure=cure)
        for line in lines
        if line.pin is not None and made.get(line.card.iccid)
    ]


def _outside(who: Principal, lines: Sequence[CardLine]) -> Sequence[LineError]:
    """Cards of departments that the account does not see."""
    return [
        fault(line, "department", "is not yours", "SEC-01")
        for line in lines
        if not who.sees(line.card.department)
    ]
