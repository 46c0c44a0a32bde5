"""The page for approval systems, lived through: its code against a daemon on a simulated bank."""

import csv
import importlib.util
import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modemctl.clock import SystemClock
from modemctl.service.accounts import bootstrap
from tests.support.approved import add_cards
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

DOCS = Path(__file__).resolve().parents[2] / "docs"
FORM = json.loads(
    re.findall(
        r"^```json\n(.*?)^```",
        (DOCS / "approval-client.md").read_text(encoding="utf-8"),
        re.M | re.S,
    )[0]
)
ROLES = {
    "oa": ("system", "submitter", "approver"),
    "liu": ("person", "submitter"),
    "li": ("person", "checker"),
    "wang": ("person", "approver"),
    "sun": ("person", "approver"),
    "zhang": ("person", "approver"),
    "zhou": ("person", "operator"),
    "chen": ("person", "operator"),
}
MAY = (
    ("wang", "department_manager", "sales"),
    ("wang", "manager_in_charge", "general"),
    ("sun", "department_manager", "general"),
    ("sun", "manager_in_charge", "sales"),
    ("zhang", "general_manager", "*"),
    ("zhang", "emergency_approver", "sales"),
)
OPERATORS = (("zhou", "sales", "wang", "sun"), ("chen", "general", "sun", "wang"))


def load_client():
    spec = importlib.util.spec_from_file_location(
        "approval_client", DOCS / "examples" / "approval_client.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


client = load_client()


@pytest.fixture(scope="module")
def office(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A running daemon, everybody's way to it, and the approvers' private keys."""
    folder = tmp_path_factory.mktemp("office")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with BankProcess(folder / "bank", "--modems", "2", "--pin", "1234", "--latency", "0") as bank:
        site = Site(
            folder / "site", str(folder / "bank" / "ports" / "*"),
            api__tcp_port=str(port), tariff__segment='"0.05"',
        )  # fmt: skip
        tokens = [
            site.write(lambda tx, name=name: bootstrap(tx, name=name)).token
            for name in ("root", "second")
        ]
        with (folder / "bank" / "cards.csv").open() as lines:
            iccids = [card["iccid"] for card in csv.DictReader(lines)]
        site.write(lambda tx: add_cards(tx, iccids, department="sales", pin="1234"))
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == 2, what="ready")
            admins = [client.Controller("127.0.0.1", port, token) for token in tokens]
            yield SimpleNamespace(bank=bank, site=site, port=port, **hire(*admins, port))


def hire(root, second, port) -> dict:
    """Accounts, API keys, approvers' keys and authorisations, as two administrators give them."""
    ways, ids, keys = {}, {}, {}

    def by_two(path: str, body: dict) -> None:
        asked = root.ask("POST", path, body)
        second.ask("POST", f"/v1/requests/{asked['request_id']}/confirm", {})

    for name, (kind, *roles) in ROLES.items():
        made = root.ask("POST", "/v1/accounts", {"name": name, "kind": kind, "roles": roles})
        ids[name] = made["account_id"]
        issuer = second if name == "sun" else root  # nobody has held both managers' keys
        token = issuer.ask("POST", f"/v1/accounts/{ids[name]}/keys", {})["token"]
        ways[name] = client.Controller("127.0.0.1", port, token)
    for name in ("wang", "zhang"):
        keys[name] = Ed25519PrivateKey.generate()
        public = client.base64url(keys[name].public_key().public_bytes_raw())
        by_two(f"/v1/accounts/{ids[name]}/approver-keys", {"public_key": public})
    until = {"valid_until": (SystemClock().now() + timedelta(days=30)).isoformat()}
    for name, kind, department in MAY:
        who = {"account_id": ids[name], "kind": kind, "department": department}
        by_two("/v1/authorisations", {**who, **until, "reference": "form 1"})
    for name, department, manager, in_charge in OPERATORS:
        who = {"account": name, "department": department, "undertaking": "2026-01"}
        asked = ways[manager].ask("POST", "/v1/operators", {**who, **until, "reference": "form 2"})
        request_id = asked["request_id"]
        ways[in_charge].ask("POST", f"/v1/requests/{request_id}/confirm", {})
        root.ask("POST", f"/v1/operators/{request_id}/file", {})
    return {"ways": ways, "ids": ids, "keys": keys}


def form(**changes) -> dict:
    kept = {"category", "text", "department", "drafter", "operator", "list_owner", "list_source"}
    return {name: FORM[name] for name in kept} | changes


def sheet_of(office, batch_id) -> dict:
    return office.ways["wang"].ask("GET", f"/v1/batches/{batch_id}/sheet")


def signed(office, batch_id, name="wang", *, key=None, **changes) -> str:
    sheet = sheet_of(office, batch_id)
    return client.signed_word(office.keys[key or name], sheet, office.ids[name], **changes)


def submitted(office, *, recipients=FORM["recipients"], **changes) -> str:
    return client.submit(office.ways["oa"], form(**changes), list(recipients))["batch_id"]


def refused(act, *arguments) -> client.Refused:
    with pytest.raises(client.Refused) as caught:
        act(*arguments)
    return caught.value


def test_a_batch_is_handed_in_signed_sent_and_comes_to_what_its_preview_said(office) -> None:
    system, many = office.ways["oa"], [f"1390000{i:04d}" for i in range(12)]
    office.ways["zhou"].ask("POST", "/v1/opt-outs", {"number": many[0]})
    lines = [
        {"to": to, "variables": {"name": "王" * (1 + i % 3 * 30)}} for i, to in enumerate(many)
    ]
    lines += [{"to": many[1], "variables": {"name": "twice"}}, {"to": "010-88888888"}]
    shown = client.submit(system, form(), lines)
    batch_id, totals = shown["batch_id"], shown["totals"]
    assert totals["n_removed"] == sum(totals["removed_by"].values()) == 3
    assert totals["n_segments"] > totals["n_messages"] == 11, "some need two"
    assert totals["estimate"]["n_cards"] == 2
    client.confirm(office.ways["li"], batch_id)
    header = client.read_sheet(sheet_of(office, batch_id))
    assert header["totals"]["estimate"]["cost"] == totals["estimate"]["cost"]
    assert client.approve(system, batch_id, signed(office, batch_id))["state"] == "approved"
    client.start(office.ways["zhou"], batch_id)
    states = [one["state"] for one in client.follow(system, batch_id, pause=0.05)]
    assert states[-1] == "done"

    ledger = [
        one for one in office.bank.ledger(kind="submit") if "季度对账单" in joined(one, office.bank)
    ]
    n_sent = len(ledger)
    assert n_sent == totals["n_segments"]
    assert len({one["destination"] for one in ledger}) == totals["n_messages"]
    assert Decimal(totals["estimate"]["cost"]) == n_sent * Decimal("0.05")
    results = list(system.lines(f"/v1/batches/{batch_id}/results"))
    assert sum(len(one["segments"]) for one in results) == totals["n_segments"]
    assert {one["state"] for one in results} <= {"sent", "delivered"}
    events = system.ask("GET", "/v1/events?kind=batch")["items"]
    told = [one["data"]["state"] for one in events if one["subject"] == batch_id]
    assert list(dict.fromkeys(told)) == [
        "checked",
        "awaiting_approval",
        "approved",
        "running",
        "done",
    ]


def joined(entry, bank) -> str:
    """All text that went to the number of a ledger's entry."""
    to = entry["destination"]
    return "".join(
        str(one["text"]) for one in bank.ledger(kind="submit") if one["destination"] == to
    )


def test_a_promotion_takes_two_approvers_in_their_order(office) -> None:
    system = office.ways["oa"]
    text = "【公司】New deposit rates, 优惠 until Friday. 回T退订"
    batch_id = submitted(office, category="promotion", text=text, operator="chen")
    (warning,) = system.ask("GET", f"/v1/batches/{batch_id}")["warnings"]
    assert warning == "no card of department general may send it: it has none"
    client.confirm(office.ways["li"], batch_id)
    assert [one["name"] for one in sheet_of(office, batch_id)["signers"]] == ["wang"]
    early = refused(client.approve, system, batch_id, signed(office, batch_id, "zhang"))
    assert (early.status, early.problem["policy"]) == (403, "SMS-03")
    word = signed(office, batch_id)
    assert client.approve(system, batch_id, word)["state"] == "awaiting_approval"
    again = refused(client.approve, system, batch_id, word)
    assert again.problem["rule"].startswith("the approval was given for another step")
    twice = refused(client.approve, system, batch_id, signed(office, batch_id))
    assert twice.problem["policy"] == "SMS-11"
    assert [one["name"] for one in sheet_of(office, batch_id)["signers"]] == ["zhang"]
    last = client.approve(system, batch_id, signed(office, batch_id, "zhang"))
    assert last["state"] == "approved"
    assert client.decisions(last) == [
        ("manager_in_charge", "wang", "approve"),
        ("general_manager", "zhang", "approve"),
    ]
    client.withdraw(system, batch_id, "changed our mind")


def test_wrong_signatures_are_refused_by_name_and_change_nothing(office) -> None:
    system = office.ways["oa"]
    batch_id, other = submitted(office), submitted(office)
    for one in (batch_id, other):
        client.confirm(office.ways["li"], one)
    foreign = signed(office, other)
    head, _, rest = signed(office, batch_id).partition(".")
    none = client.base64url(
        b'{"alg":"none","kid":"%s"}' % client.key_id(office.keys["wang"]).encode()
    )
    cases = {
        "another batch": foreign,
        "wrongly signed": signed(office, batch_id)[:-4] + "AAAA",
        "algorithm": f"{none}.{rest}",
        "somebody else's key": signed(office, batch_id, "zhang", key="wang"),
        "expired when it arrived": signed(office, batch_id, issued_at=1_700_000_000),
        "in the future": signed(office, batch_id, issued_at=9_000_000_000),
        "compact JWS": f"{head}.{rest}.x",
    }
    for rule, jws in cases.items():
        found = refused(client.approve, system, batch_id, jws)
        assert (found.status, found.problem["policy"]) == (403, "SMS-01"), rule
        assert rule in found.problem["rule"], found.problem["rule"]
    assert system.ask("GET", f"/v1/batches/{batch_id}")["state"] == "awaiting_approval"
    for one in (batch_id, other):
        client.withdraw(system, one, "test")


def test_what_was_withdrawn_or_signed_away_is_over(office) -> None:
    system = office.ways["oa"]
    gone = submitted(office)
    client.confirm(office.ways["li"], gone)
    word = signed(office, gone)
    assert client.withdraw(system, gone, "typo")["state"] == "withdrawn"
    assert refused(client.approve, system, gone, word).status == 409
    no = submitted(office)
    client.confirm(office.ways["li"], no)
    ended = client.approve(system, no, signed(office, no, decision="reject"))
    assert ended["state"] == "rejected"
    assert client.decisions(ended) == [("department_manager", "wang", "reject")]


def test_an_emergency_is_let_go_by_one_and_signed_by_its_chain_afterwards(office) -> None:
    system = office.ways["oa"]

    def listed() -> list:
        return [one["batch_id"] for one in system.ask("GET", "/v1/emergencies")]

    batch_id = submitted(office, emergency="the branch in the east is flooded")
    client.confirm(office.ways["li"], batch_id)
    assert client.read_sheet(sheet_of(office, batch_id))["emergency"].endswith("is flooded")
    assert refused(client.approve, system, batch_id, signed(office, batch_id)).status == 403
    word = signed(office, batch_id, "zhang")
    assert client.approve(system, batch_id, word)["state"] == "approved"
    client.start(office.ways["zhou"], batch_id)
    assert [one["state"] for one in client.follow(system, batch_id, pause=0.05)][-1] == "done"
    assert listed() == [batch_id]
    assert client.approve(system, batch_id, signed(office, batch_id))["state"] == "done"
    assert listed() == []


def test_refusals_say_what_the_page_says(office) -> None:
    system = office.ways["oa"]
    whole = form(batch_id="0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f12")
    first = client.submit(system, dict(whole), FORM["recipients"])
    assert client.submit(system, dict(whole), FORM["recipients"])["digest"] == first["digest"]
    assert refused(client.submit, system, whole, FORM["recipients"][:1]).status == 409
    assert refused(client.submit, system, form(category="spam"), FORM["recipients"]).status == 403
    wrong = refused(client.submit, system, form(operator="chen"), FORM["recipients"])
    assert (wrong.status, wrong.problem["policy"]) == (403, "SMS-02")
    assert wrong.problem["cure"].endswith("name zhou")
    assert first["warnings"] == []
    assert refused(client.submit, system, form(batch_id="x"), FORM["recipients"]).status == 422
    assert refused(client.start, office.ways["zhou"], first["batch_id"]).status == 403
    machine = refused(client.confirm, system, first["batch_id"])
    assert (machine.status, machine.problem["policy"]) == (403, "SEC-01")
    nobody = client.Controller("127.0.0.1", office.port, "mk_x_y")
    assert refused(nobody.ask, "GET", "/v1/whoami").status == 401
    assert refused(system.ask, "GET", "/v1/batches/none").status == 404
    client.withdraw(system, first["batch_id"], "test")
