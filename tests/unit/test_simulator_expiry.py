"""What waits for a card does not wait for ever, and not without end."""

from pathlib import Path

import pytest

from simulator.network import service_centre
from tests.support.simulated import within
from tests.support.virtual_bank import VirtualBank, virtual_bank

_DAY = 86_400.0


def _waiting(bank: VirtualBank) -> int:
    card = bank.bank.modems[0].card
    assert card is not None
    return bank.bank.network.waiting(card)


def test_messages_from_outside_expire_with_the_carriers_validity(tmp_path: Path) -> None:
    with virtual_bank(tmp_path, pin_lock="on") as bank:
        bank.do("inject_sms", to="modem01", text="late", **{"from": "10086"})
        bank.do("inject_sms", to="modem01", tpdu="0401")
        bank.wait(_DAY - 1)
        assert (_waiting(bank), bank.ledger(kind="expired")) == (2, [])
        bank.wait(2)
        assert _waiting(bank) == 0
        first, second = bank.ledger(kind="expired")
        assert (first["what"], first["from"], first["text"]) == ("deliver", "10086", "late")
        assert (first["st"], second["tpdu"]) == (0x46, "0401")
        assert first["iccid"] == within(bank.do("state", modem=1), "modems", 0, "card", "iccid")


def test_message_that_arrived_does_not_expire(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        bank.do("inject_sms", to="modem01", text="now")
        bank.wait(2 * _DAY)
        assert bank.ledger(kind="expired") == []
        assert len(bank.ledger(kind="deliver")) == 1


def test_report_expires_where_its_card_stays_away(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        bank.wait(5)
        bank.do("send_sms", modem=1, to="+491712345678", text="hi", report=True)
        bank.wait(0.8)
        assert len(bank.ledger(kind="submit")) == 1
        bank.do("pull_card", modem=1)
        bank.wait(2 * _DAY)
        (line,) = bank.ledger(kind="expired")
        assert (line["what"], line["destination"], line["st"]) == ("report", "+491712345678", 0x46)


def test_what_the_client_never_acknowledged_expires(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        bank.wait(5)
        bank.do("type", modem=1, text="AT+CSMS=1;+CNMI=2,2,0,0,0")
        bank.do("inject_sms", to="modem01", text="one")
        bank.do("inject_sms", to="modem01", text="two")
        bank.do("unplug", modem=1)
        bank.wait(_DAY + 1)
        assert _waiting(bank) == 0
        assert [line["text"] for line in bank.ledger(kind="expired")] == ["one", "two"]


def test_queue_of_a_card_is_bounded(tmp_path: Path) -> None:
    with virtual_bank(tmp_path, pin_lock="on") as bank:
        card = bank.bank.modems[0].card
        assert card is not None
        for _ in range(service_centre.QUEUE_MOST):
            bank.bank.network.send_raw(to=card, tpdu=b"\x04")
        assert bank.ledger(kind="expired") == []
        bank.do("inject_sms", to="modem01", text="too much")
        (line,) = bank.ledger(kind="expired")
        assert (line["text"], line["st"]) == ("too much", 0x48)
        assert _waiting(bank) == service_centre.QUEUE_MOST


def test_sender_in_the_bank_is_told_that_the_queue_was_full(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        bank.wait(5)
        bank.do("pull_card", modem=2)
        card = bank.bank.card("+8613800000002")
        for _ in range(service_centre.QUEUE_MOST):
            bank.bank.network.send_raw(to=card, tpdu=b"\x04")
        bank.do("send_sms", modem=1, to="+8613800000002", text="hi", report=True)
        bank.wait(60)
        (line,) = bank.ledger(kind="expired")
        assert (line["what"], line["st"]) == ("submit", 0x48)
        assert [line["st"] for line in bank.ledger(kind="report")] == [0x48]


@pytest.mark.parametrize("tpdu", ["", " ", "0", "zz"])
def test_raw_message_without_whole_octets_is_refused(tmp_path: Path, tpdu: str) -> None:
    with virtual_bank(tmp_path) as bank:
        with pytest.raises(ValueError, match=r"tpdu: .*octets in hex"):
            bank.do("inject_sms", to="modem01", tpdu=tpdu)
        bank.do("inject_sms", to="modem01", text="fine")
        bank.wait(5)
        assert [line["text"] for line in bank.ledger(kind="deliver")] == ["fine"]


def test_network_refuses_a_message_of_no_octets(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        card = bank.bank.modems[0].card
        assert card is not None
        with pytest.raises(ValueError, match="at least one octet"):
            bank.bank.network.send_raw(to=card, tpdu=b"")
        assert _waiting(bank) == 0
