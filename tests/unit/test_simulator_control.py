"""Every verb of the control channel, on a whole bank whose time stands still."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.bank import NoSuchThing
from simulator.control import server as control
from simulator.control import verbs
from simulator.reading import ScenarioError
from tests.support.simulated import within
from tests.support.virtual_bank import VirtualBank, virtual_bank


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[VirtualBank]:
    with virtual_bank(tmp_path, modems=4, per_hub=2) as bank:
        bank.wait(5)
        yield bank


def states(bank: VirtualBank, modem: object = "all") -> list[dict[str, object]]:
    found = bank.do("state", modem=modem)["modems"]
    assert isinstance(found, list)
    return found


def card_of(bank: VirtualBank, number: int) -> str:
    card = bank.bank.modems[number - 1].card
    assert card is not None
    return card.iccid


# ---------------------------------------------------------------- choosing modems


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("modem02", [2]),
        (2, [2]),
        ("2", [2]),
        ("2-3", [2, 3]),
        ("4,1-2", [4, 1, 2]),
        (["modem01", 3], [1, 3]),
        ("all", [1, 2, 3, 4]),
        ("*", [1, 2, 3, 4]),
    ],
)
def test_modems_are_chosen_by_name_number_range_list(
    bank: VirtualBank, chosen: object, names: list[int]
) -> None:
    found = states(bank, chosen)
    assert [one["modem"] for one in found] == [f"modem{n:02d}" for n in names]


@pytest.mark.parametrize("chosen", ["modem99", "5", "0", "2-9", "3-2", "x", ""])
def test_modems_that_there_are_not_are_refused(bank: VirtualBank, chosen: str) -> None:
    with pytest.raises(ScenarioError, match=r"no bay|no modem|modem is needed"):
        bank.do("reboot", modem=chosen)


def test_one_modem_is_answered_plainly_and_several_by_name(bank: VirtualBank) -> None:
    assert bank.do("pull_card", modem=1)["modem"] == "modem01"
    answer = bank.do("pull_card", modems="2-3")
    assert answer.keys() == {"modems"}
    told = within(bank.do("hang_up", modems="all"), "modems")
    assert isinstance(told, dict)
    assert told.keys() == {"modem01", "modem02", "modem03", "modem04"}


def test_what_some_modems_refuse_is_told_beside_what_others_did(bank: VirtualBank) -> None:
    bank.do("pull_card", modem=2)
    answer = bank.do("cut_off", modems="1-2")
    assert answer["refused"] == {"modem02": "modem02 has no card"}
    with pytest.raises(ValueError, match="modem02 has no card"):
        bank.do("cut_off", modem=2)


# ---------------------------------------------------------------- messages and calls


def test_sms_reaches_a_card_by_modem_iccid_or_number(bank: VirtualBank) -> None:
    for to in ("modem01", card_of(bank, 1), "+8613800000001"):
        assert bank.do("inject_sms", to=to, text="退订", **{"from": "10086"})["segments"] == 1
    assert bank.do("inject_sms", to="modem01", text="中" * 100)["segments"] == 2
    arrived = bank.ledger(kind="deliver")
    assert [line["from"] for line in arrived[:3]] == ["10086"] * 3
    assert {line["modem"] for line in arrived} == {"modem01"}
    bank.do("inject_sms", to="modem01", tpdu="040B919431")
    assert bank.ledger(kind="deliver")[-1]["text"] is None


def test_modem_sends_as_a_client_would(bank: VirtualBank) -> None:
    text = "中文" * 60
    answer = bank.do("send_sms", modem=1, to="+8613800000002", text=text, report=True)
    assert answer["segments"] == 2
    bank.do("send_sms", modem=1, to="+491712345678", text="hello")
    bank.wait(30)
    taken = bank.ledger(kind="submit")
    assert [line["destination"] for line in taken] == ["+8613800000002"] * 2 + ["+491712345678"]
    assert "".join(str(line["text"]) for line in taken[:2]) == text
    assert len(bank.ledger(kind="report")) == 2
    assert {line["modem"] for line in bank.ledger(kind="deliver")} == {"modem02"}


def test_message_after_a_lost_prompt_or_answer_goes_out(bank: VirtualBank) -> None:
    for fault in ("no_prompt", "lost_answer", "cms_error", "silence"):
        bank.do("set_fault", modem=1, fault=fault)
        bank.do("send_sms", modem=1, to="+491712345678", text=f"with {fault}")
        bank.do("send_sms", modem=1, to="+491712345678", text=f"after {fault}")
        bank.wait(300)
        last = bank.ledger(kind="submit")[-1]
        assert last["text"] == f"after {fault}"
        assert bank.ledger(kind="fault", fault=fault)


def test_typed_commands_are_answered_at_once_and_know_the_card(bank: VirtualBank) -> None:
    assert bank.do("type", modem=1, text="AT")["answer"] == "AT\r\r\nOK\r\n"
    echo = str(bank.do("type", modem=1, text="AT+X={iccid},{number},{puk}")["answer"])
    assert echo.startswith(f"AT+X={card_of(bank, 1)},+8613800000001,")
    assert bank.do("type", modem=1, text="ATE0\r")["answer"] == "ATE0\r\r\nOK\r\n"
    assert bank.do("type", modem=1, text="AT", enter=False)["answer"] == ""
    bank.do("type", modem=1, text="")
    bank.do("type", modem=1, text='AT+CLCK="SC",1,"{pin}"')
    bank.do("reboot", modem=1)
    bank.wait(5)
    assert "SIM PIN" in str(bank.do("type", modem=1, text="AT+CPIN?")["answer"])
    bank.do("type", modem=1, text='AT+CPIN="{pin}"')
    bank.wait(5)
    assert states(bank, "1")[0]["registration"] == 1


def test_calls_come_in_and_go_out_and_end(bank: VirtualBank) -> None:
    bank.do("inject_call", modem=1, number="95588", outcome="missed", rings=2)
    with pytest.raises(ValueError, match="line is taken"):
        bank.do("inject_call", modem=1)
    bank.do("dial", modem=2, number="10086", outcome="answered", seconds=3)
    bank.do("dial", modem=3, outcome="busy")
    bank.do("inject_call", modem=4, outcome="answered", seconds=1000)
    bank.wait(60)
    assert bank.do("hang_up", modem=4)["ended"] is True
    assert bank.do("hang_up", modem=4)["ended"] is False
    found = {
        line["modem"]: (line["direction"], line["outcome"]) for line in bank.ledger(kind="call")
    }
    assert found == {
        "modem01": ("in", "missed"),
        "modem02": ("out", "answered"),
        "modem03": ("out", "busy"),
        "modem04": ("in", "answered"),
    }
    bank.do("set_registration", modem=1, stat=3)
    bank.wait(5)
    with pytest.raises(ValueError, match=r"modem01 is not registered \(\+CREG 3\)"):
        bank.do("inject_call", modem=1)


# ---------------------------------------------------------------- faults and network


def test_faults_are_set_counted_rated_and_cleared(bank: VirtualBank) -> None:
    bank.do("set_fault", modem=1, fault="silence")
    assert [bank.do("type", modem=1, text="AT")["answer"] for _ in range(2)] == [
        "",
        "AT\r\r\nOK\r\n",
    ]
    bank.do("set_fault", modem=1, fault="silence", count=0)
    bank.do("set_fault", modem=1, fault="garbage", rate=0.5)
    assert states(bank, "1")[0]["faults"] == "garbage,silence"
    bank.do("clear_faults", modem=1, fault="silence")
    assert states(bank, "1")[0]["faults"] == "garbage"
    bank.do("clear_faults")
    assert states(bank, "1")[0]["faults"] == ""


def test_coverage_signal_and_registration(bank: VirtualBank) -> None:
    bank.do("lose_coverage", modem="1-2")
    bank.wait(5)
    assert [one["registration"] for one in states(bank)] == [2, 2, 1, 1]
    bank.do("restore_coverage", modem="modem01")
    bank.wait(5)
    assert [one["registration"] for one in states(bank)] == [1, 2, 1, 1]
    bank.do("lose_coverage")
    bank.do("restore_coverage")
    bank.wait(10)
    assert [one["registration"] for one in states(bank)] == [1] * 4
    bank.do("set_signal", modem="modem03", signal=7)
    assert "+CSQ: 7,99" in str(bank.do("type", modem=3, text="AT+CSQ")["answer"])
    bank.do("set_registration", modem=4, stat=5)
    bank.wait(5)
    assert states(bank, "4")[0]["registration"] == 5
    with pytest.raises(LookupError, match="no carrier 'O2'"):
        bank.do("lose_coverage", carrier="O2")


def test_limits_money_rules_and_pace(bank: VirtualBank) -> None:
    def send(modem: int) -> dict[str, object]:
        before = bank.bank.ledger.count
        bank.do("send_sms", modem=modem, to="+491712345678", text="x")
        bank.wait(20)
        (line,) = [one for one in bank.ledger() if int(str(one["n"])) > before]
        return {"kind": line["kind"], "outcome": line["outcome"]}

    bank.do("cut_off", modem=1, cms=28)
    assert send(1) == {"kind": "refused", "outcome": "cms:28"}
    bank.do("lift", modem=1)
    assert send(1) == {"kind": "submit", "outcome": "taken"}
    bank.do("set_network_error", rule={"destination": "+49", "cms": 42})
    assert send(2) == {"kind": "refused", "outcome": "cms:42"}
    assert bank.do("remove_network_error", rule={"destination": "+49", "cms": 42})["removed"]
    assert send(2) == {"kind": "submit", "outcome": "taken"}
    bank.do("set_network_error", rule={"cms": 1})
    bank.do("clear_network_errors")
    assert send(3) == {"kind": "submit", "outcome": "taken"}
    assert bank.do("set_latency", seconds="2s")["seconds"] == 0.5
    assert bank.bank.network.times.latency == 2
    assert bank.bank.network.times.report_delay == 1.0
    bank.do("set_balance", modem=1, balance="3.50")
    bank.do("type", modem=1, text='AT+CUSD=1,"*100#",15')
    bank.wait(10)
    assert "3.50" in str(bank.ledger(kind="ussd")[-1])


def test_carrier_latency_call_rules_and_ussd(bank: VirtualBank) -> None:
    (carrier,) = bank.bank.network.carriers
    bank.do("set_carrier_latency", carrier=carrier.name, latency={"seconds": 9})
    bank.do("send_sms", modem=1, to="+491712345678", text="slow")
    bank.wait(8)
    assert bank.ledger(kind="submit") == []
    bank.wait(2)
    assert len(bank.ledger(kind="submit")) == 1
    bank.do("add_call_rule", rule={"number": "139", "outcome": "busy"})
    bank.do("type", modem=1, text="ATD13911111111;")
    bank.wait(60)
    bank.do("clear_call_rules")
    bank.do("type", modem=1, text="ATD13911111111;")
    bank.wait(60)
    assert [line["outcome"] for line in bank.ledger(kind="call")] == ["busy", "answered"]
    bank.do("push_ussd", modem=2, text="您的余额不足")
    assert bank.ledger(kind="ussd")[-1]["text"] == "您的余额不足"
    bank.do("pull_card", modem=3)
    bank.do("insert_card", modem=3, card="+8613800000003")
    with pytest.raises(ValueError, match="not registered, or has a session"):
        bank.do("push_ussd", modem=3, text="x")


# ---------------------------------------------------------------- power and cards


def test_hubs_cables_and_reboots(bank: VirtualBank) -> None:
    assert [one["hub"] for one in states(bank)] == [1, 1, 2, 2]
    assert bank.do("unplug_hub", hub=2)["names"] == ["modem03", "modem04"]
    assert [one["is_plugged"] for one in states(bank)] == [True, True, False, False]
    bank.do("plug_hub", hub=2)
    bank.do("unplug", modem=1, keeps_power=True)
    assert states(bank, "1")[0]["is_on"] is True
    bank.do("plug", modem=1, renumbered=True)
    bank.do("reboot", modem=2)
    assert states(bank, "2")[0]["is_on"] is False
    bank.wait(10)
    assert all(one["is_on"] and one["registration"] == 1 for one in states(bank))
    with pytest.raises(NoSuchThing, match="no hub 3: there are 1 to 2"):
        bank.do("unplug_hub", hub=3)
    events = [line["event"] for line in bank.ledger(kind="power", modem="modem03")]
    assert events == ["unplugged", "plugged", "booted"]


def test_cards_are_pulled_inserted_and_swapped(bank: VirtualBank) -> None:
    first, second = card_of(bank, 1), card_of(bank, 2)
    assert bank.do("pull_card", modem=1)["iccid"] == first
    assert bank.do("pull_card", modem=1)["iccid"] is None
    bank.do("insert_card", modem=1, card=second)
    assert states(bank, "2")[0]["card"] is None
    bank.do("insert_card", modem=2, card=first)
    bank.do("swap_cards", modem=1, other="2")
    assert (card_of(bank, 1), card_of(bank, 2)) == (first, second)
    moves = [(line["modem"], line["event"]) for line in bank.ledger(kind="card")]
    assert moves[:3] == [("modem01", "pulled"), ("modem02", "pulled"), ("modem01", "inserted")]
    with pytest.raises(NoSuchThing, match="no card"):
        bank.do("insert_card", modem=1, card="8949")


# ---------------------------------------------------------------- traffic


def test_traffic_comes_at_its_rate_until_stopped(bank: VirtualBank) -> None:
    assert bank.do("traffic", source="strangers", per_minute=60, name="a") == {"name": "a"}
    bank.do("traffic", source="senders", per_minute=60, modems="1-2", limit=5, texts=["n{n}"],
            numbers=["+491712345678"])  # fmt: skip
    bank.wait(600)
    ended = bank.do("stop_traffic", name="a")["ended"]
    assert isinstance(ended, dict)
    assert 450 < ended["a"] < 750
    taken = bank.ledger(kind="submit")
    assert [line["text"] for line in taken] == ["n1", "n2", "n3", "n4", "n5"]
    assert {line["modem"] for line in taken} <= {"modem01", "modem02"}
    count = bank.bank.ledger.count
    bank.wait(600)
    assert bank.bank.ledger.count - count < 100  # only what had waited for room
    with pytest.raises(ValueError, match="no traffic 'a'; there is traffic2"):
        bank.do("stop_traffic", name="a")


def test_traffic_speaks_chinese_and_gsm7_short_and_long(bank: VirtualBank) -> None:
    bank.do("traffic", source="senders", per_minute=600, chinese=0.5, long=0.2, report=0.5)
    bank.wait(60)
    taken = bank.ledger(kind="submit")
    codings = [line["coding"] for line in taken]
    assert 0.2 < codings.count("ucs2") / len(codings) < 0.9
    assert any(line["concat"] is not None for line in taken)
    assert 0.2 < sum(bool(line["wants_report"]) for line in taken) / len(taken) < 0.8
    assert len({line["destination"] for line in taken}) > 100


def test_neighbours_and_callers(bank: VirtualBank) -> None:
    bank.do("traffic", source="neighbours", per_minute=30)
    bank.do("traffic", source="callers", per_minute=4)
    bank.wait(300)
    own = {f"+861380000000{n}" for n in range(1, 5)}
    assert {line["destination"] for line in bank.ledger(kind="submit")} <= own
    assert all(line["from"] != line["destination"] for line in bank.ledger(kind="submit"))
    assert {line["outcome"] for line in bank.ledger(kind="call")} >= {"missed", "answered"}
    bank.do("stop_traffic")


# ---------------------------------------------------------------- requests


def ask(bank: VirtualBank, line: bytes) -> dict[str, object]:
    return control.answer(bank.controller, line)


def test_ledger_is_read_in_pages(bank: VirtualBank) -> None:
    for n in range(10):
        bank.do("inject_sms", to="modem01", text=f"{n}")
    found: list[object] = []
    offset = 0
    while True:
        page = bank.do("ledger", where={"kind": "deliver"}, offset=offset, limit=3)
        lines = page["lines"]
        assert isinstance(lines, list)
        assert len(lines) <= 3
        found += lines
        if page["offset"] == offset:
            break
        offset = int(str(page["offset"]))
    assert [within(line, "text") for line in found] == [str(n) for n in range(10)]


def test_stop_tells_whoever_runs_the_bank(bank: VirtualBank) -> None:
    bank.do("stop")
    bank.wait(0.1)
    assert bank.stopped == [True]


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        (b"nonsense", "Expecting value"),
        (b"[]", "a request is a JSON object"),
        (b"\xff", "decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id":7}', "do: is missing: one of state"),
        (b'{"id":7,"do":"rebot"}', "did you mean reboot"),
        (b'{"id":7,"do":7}', "unknown verb '7'"),
        (b'{"id":7,"do":"reboot","modm":1}', "modm: unknown key 'modm'; did you mean modem"),
        (b'{"id":7,"do":"reboot"}', "modem: is missing: its name, its number"),
        (b'{"id":7,"do":"reboot","modem":1,"hard":1}', "hard: unknown key 'hard'"),
        (b'{"id":7,"do":"inject_sms","to":"nobody","text":""}', "no card 'nobody'"),
        (b'{"id":7,"do":"inject_sms","to":"modem01","from":"x y z x y z x"}', "address"),
        (b'{"id":7,"do":"inject_sms","to":"modem01","tpdu":"xyz"}', "hex"),
        (b'{"id":7,"do":"set_fault","modem":1,"fault":"silense"}', "did you mean silence"),
        (b'{"id":7,"do":"set_latency","seconds":true}', "seconds: true: seconds are needed"),
        (b'{"id":7,"do":"set_latency","seconds":-1}', "not below 0"),
        (b'{"id":7,"do":"set_network_error","rule":{"cmss":1}}', "rule.cmss: unknown key"),
        (b'{"id":7,"do":"set_balance","modem":1,"balance":"much"}', "balance"),
        (b'{"id":7,"do":"ledger","where":1}', "where: 1: a table is needed"),
        (b'{"id":7,"do":"inject_call","modem":1,"outcome":"rude"}', "one of answered, missed"),
    ],
)
def test_wrong_request_is_answered_with_what_is_wrong(
    bank: VirtualBank, request_line: bytes, said: str
) -> None:
    answer = ask(bank, request_line)
    assert answer["ok"] is False
    assert said in str(answer["error"])
    assert answer["id"] == (7 if b'"id"' in request_line else None)
    json.dumps(answer)


def test_every_verb_is_served_and_explained(bank: VirtualBank) -> None:
    for name, verb in verbs.VERBS.items():
        assert verb.summary.endswith("."), name
        assert verb.undo == "" or verb.undo in verbs.VERBS, name
        if name == "follow":
            continue
        answer = ask(bank, json.dumps({"do": name, "nonsense": 1}).encode())
        assert answer["ok"] is False
        assert "nonsense" in str(answer["error"]) or "is missing" in str(answer["error"])
