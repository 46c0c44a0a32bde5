"""What a person does about the word that keeps a bay or a card from serving."""

from __future__ import annotations

from typing import Final

_BLOCKED: Final = "modemctl sims puk ask ICCID --reason WHY, by two persons (ModemctlCardBlocked)"
_CURES: Final = {
    "unregistered": "modemctl sims import cards.csv, or take the card out",
    "not_issued": "modemctl sims requests: what it waits for; else: modemctl sims request ICCID",
    "unverified": "modemctl sims verify ICCID --by WHO",
    "moved": "put it back, or say that it stays: modemctl modems bind BAY --reason WHY",
    "unbound": "modemctl modems bind BAY --reason WHY",
    "not_admitted": "modemctl modems admit IMEI --reason WHY, by two persons",
    "expelled": "take it out; if ours: modemctl modems admit IMEI --reason WHY, by two persons",
    "tampered": "modemctl audit list tells who changed it last; it is an incident",
    "pin_wrong": "correct the PIN in the list: modemctl sims import cards.csv; try none by hand",
    "pin_failed": "correct the PIN in the list: modemctl sims import cards.csv; try none by hand",
    "no_pin": "bring its PIN: modemctl sims import cards.csv",
    "counter_unknown": "this modem does not tell the tries that are left: put the card into another"
    " one (ModemctlPinGuardStopped)",
    "lock_counter_unknown": "this modem tells no tries of an open card: put it into a bay with"
    " another model once, where it gets its lock (ModemctlCardUnlocked)",
    "counter_low": "one try is left and none is risked: who knows the PIN for sure types it into a"
    " telephone once (ModemctlPinGuardStopped)",
    "answers_lost": "two tries brought no answer: look at the modem (ModemctlPinGuardStopped)",
    "pending_unsure": "nobody knows which of two PINs holds: it needs its PUK"
    " (ModemctlPinGuardStopped)",
    "import_stopped": "modemctl sims pin-imports; then: modemctl sims resume-import IMPORT",
    "lock_refused": "put the card into another modem once (ModemctlCardUnlocked)",
    "iccid_unreadable": "reseat the card; if this model never tells it: docs/families.md, `iccid`",
    "lock_unknown": 'put the card into another modem, or say lock = "verify" below [sims]',
    "pin_blocked": _BLOCKED,
    "sim_puk": _BLOCKED,
    "puk_wrong": "compare the PUK with the card's letter, then: " + _BLOCKED,
    "puk_unknown": "modemctl modems reset BAY --reason WHY: the card tells at its next start",
    "puk_not_wanted": "modemctl modems reset BAY --reason WHY: the modem tells an old state",
}


def cure_of(reason: str, *, bay: object, iccid: object, imei: object) -> str:
    """What to type or do, by the reason's first word; empty where none is known.

    What is not known of bay, card and modem stays as the word that stands for it.
    """
    word = reason.partition(" ")[0]
    cure = _CURES.get(word) or _CURES.get(word.removeprefix("lock_"), "")
    for name, value in (("BAY", bay), ("ICCID", iccid), ("IMEI", imei)):
        cure = cure.replace(name, str(value or name))
    return cure
