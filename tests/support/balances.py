"""Balances as the fleet keeps them."""

from modemctl.model import AccountId, Bay, Iccid
from modemctl.policy.balances import Answered, Outcome, Question
from modemctl.store import Tx, balances, wishes
from modemctl.store.balances import Reading


def note_balance(tx: Tx, iccid: Iccid, bay: Bay, amount: str = "12.50", *, low: str = "10") -> None:
    """A carrier told what is left on a card."""
    question = Question(iccid=iccid, code="*100#", pattern="", currency="CNY", low=low)
    wish_id = balances.ask(tx, question, bay, by=AccountId(""))
    wish = wishes.read(tx.conn, tx.vault, wish_id)
    assert wish is not None
    answered = Answered(outcome=Outcome.READ, amount=amount)
    balances.note(tx, [Reading(wish=wish, question=question, answered=answered)])
