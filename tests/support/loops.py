"""Cards with numbers of their own, and a standing approval for self-tests under which they send."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from modemctl.lifecycle import CardState, ModemState
from modemctl.model import Bay, Iccid
from modemctl.service.batches import BatchView, Recipient
from modemctl.service.principal import Principal, Scope
from modemctl.store import modems, sims
from modemctl.store.transaction import Tx
from tests.support.people import RETAIL, Office

TEXT = "A test of our own cards, nothing to do."
CARDS = [Iccid(f"8986000000000000{i:03d}") for i in range(3)]
NUMBERS = {card: f"+861391111000{i}" for i, card in enumerate(CARDS)}


def add_numbered(
    tx: Tx,
    cards: Sequence[Iccid] = tuple(CARDS[:2]),
    *,
    department: str = RETAIL,
    state: CardState = CardState.ISSUED,
) -> None:
    """Verified cards of a department, each with its number."""
    sims.add(
        tx,
        [
            sims.NewCard(
                iccid=card, department=department, state=state, number=NUMBERS[card],
                verified_at=tx.now, verified_by="tester",
            )
            for card in cards
        ],
    )  # fmt: skip


def bay_of(card: Iccid) -> Bay:
    """The bay in which a card sits."""
    return Bay(f"bay-{card[-3:]}")


def seat(tx: Tx, cards: Sequence[Iccid] = tuple(CARDS[:2])) -> None:
    """Modems that are READY with these cards in them."""
    modems.save_changes(
        tx,
        [
            modems.StateChange(
                facts=modems.Facts(bay=bay_of(card), port="/dev/x", family=None, iccid=card),
                before=ModemState.SEARCHING, after=ModemState.READY, event="registered", reason="",
            )
            for card in cards
        ],
    )  # fmt: skip


async def propose(
    office: Office, cards: Sequence[Iccid] = tuple(CARDS[:2]), **changes: object
) -> BatchView:
    """Submit a standing approval to these cards' numbers."""
    values: dict[str, object] = {"runs_per_week": 2, "text": TEXT, **changes}
    lines = [
        Recipient(line_no=i, to=NUMBERS[card], variables={}) for i, card in enumerate(cards, 1)
    ]
    request = office.request(str(values.pop("category", "other")), **values)
    return await office.batches.submit(office.who["system"], request, lines)


async def signed(office: Office, shown: BatchView, *, days: int = 90) -> BatchView:
    """Confirmed, and signed by the chain for so many days."""
    shown = await office.confirm(shown)
    jws = office.sign(shown, "manager", lifetime=timedelta(days=days))
    return await office.batches.approve(office.who["manager"], shown.batch.batch_id, jws)


async def standing(office: Office, **changes: object) -> BatchView:
    """A standing approval that is in force."""
    return await signed(office, await propose(office, **changes))


def as_operator(office: Office, name: str = "general_operator") -> Principal:
    """A person who may hold and cancel, too."""
    scopes = office.who[name].scopes | {Scope.BATCHES_OPERATE, Scope.BATCHES_READ}
    return replace(office.who[name], scopes=scopes)
