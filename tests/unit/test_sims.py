"""The register of cards: lists in, views out, life of a card, what is never told."""

import io
import json
import zipfile
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from sqlalchemy import select, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import CardState
from modemctl.model import AccountId, Iccid, Topic
from modemctl.policy.numbers import NumberRules
from modemctl.policy.pin_guard import AttemptOutcome, PinCommand
from modemctl.service.card_endings import Ending, Endings
from modemctl.service.principal import Principal, Scope
from modemctl.service.recipients import ListFormat, spool
from modemctl.service.sims import Ownership, Sims
from modemctl.store import Store, pin_tries, pins
from modemctl.store.tables import audit_entry, event, pin_import, sim
from tests.support.simulated import BankProcess
from tests.support.stores import open_store

HEAD = "iccid,number,holder,department,ownership,verified,state,pin"
CARDS = [f"8986001234567890{i:04d}" for i in range(1, 6)]
PIN = "73914682"


def row(i=1, *, number=None, holder="王芳", department="sales", state="issued", pin=PIN):
    number = f"138000000{i:02d}" if number is None else number
    return f"{CARDS[i - 1]},{number},{holder},{department},owned,yes,{state},{pin}"


def who(*scopes: Scope, department: str | None = None) -> Principal:
    return Principal(
        account_id=AccountId("a"), name="keeper", department=department,
        scopes=frozenset(scopes), source="test",
    )  # fmt: skip


KEEPER = who(Scope.SIMS_READ, Scope.SIMS_WRITE)
READER = who(Scope.SIMS_READ)
INSIDER = who(Scope.SIMS_READ, Scope.SIMS_WRITE, Scope.PII_READ)


@asynccontextmanager
async def register(tmp_path):
    async with open_store(tmp_path) as store:
        yield Sims(store, numbers=NumberRules(), zone=ZoneInfo("Asia/Shanghai")), store


async def give(sims: Sims, content, list_format=ListFormat.CSV, principal=KEEPER, **how):
    octets = content if isinstance(content, bytes) else content.encode()

    async def chunks():
        yield octets

    async with spool(chunks(), max_octets=1 << 24) as source:
        return await sims.import_cards(principal, source, list_format, **how)


def workbook(*rows_: list[object]) -> bytes:
    book = openpyxl.Workbook()
    for cells in rows_:
        book.active.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def open_document(lines: list[list[str]]) -> bytes:
    """A spreadsheet as LibreOffice writes it (OpenDocument 1.2), with the least that it needs."""
    office = "urn:oasis:names:tc:opendocument:xmlns"
    table = "".join(
        "<table:table-row>"
        + "".join(
            f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p>'
            "</table:table-cell>"
            for cell in line
        )
        + "</table:table-row>"
        for line in lines
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content '
        f'xmlns:office="{office}:office:1.0" xmlns:table="{office}:table:1.0" '
        f'xmlns:text="{office}:text:1.0"><office:body><office:spreadsheet>'
        f'<table:table table:name="a">{table}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        book.writestr("content.xml", content)
        book.writestr("META-INF/manifest.xml", "<manifest/>")
    return out.getvalue()


async def end(store: Store, state: CardState, reason: str = "over"):
    return await Endings(store).end(KEEPER, CARDS[0], Ending(state=state, reason=reason))


async def stored_pin(store: Store, iccid: str) -> str | None:
    sealed = await store.read(
        lambda conn: conn.scalar(select(sim.c.pin_enc).where(sim.c.iccid == iccid))
    )
    place = pins.pin_place(iccid)
    return None if sealed is None else store.vault.decrypt_text(sealed, place=place)


async def test_a_list_becomes_cards_and_one_import_of_pins(tmp_path):
    async with register(tmp_path) as (sims, store):
        with store.signals.subscribe(Topic.SIMS) as bell:
            done = await give(sims, "\n".join([HEAD, row(1), row(2), row(3, pin="")]))
            assert await bell.wait(5)
        page = await sims.list_sims(INSIDER)
        (imported,) = await sims.list_imports(READER)
        held = [await stored_pin(store, iccid) for iccid in CARDS[:3]]
    assert (done.n_cards, done.n_added, done.n_pins, done.errors) == (3, 3, 2, [])
    assert [one.iccid for one in page.items] == CARDS[:3]
    first = page.items[0]
    assert (first.number, first.holder, first.department) == ("+8613800000001", "王芳", "sales")
    assert (first.state, first.ownership) == (CardState.ISSUED, Ownership.OWNED)
    assert (first.has_pin, first.pin_state, first.verified_by) == (True, "unproved", "keeper")
    assert not page.items[2].has_pin
    assert (imported.import_id, imported.n_cards, imported.width) == (done.import_id, 2, 1)
    assert held == [PIN, PIN, None]


async def test_what_excel_saves_as_unicode_text_is_read(tmp_path):
    text = "\r\n".join([HEAD, row(1), row(2)]).replace(",", "\t")
    async with register(tmp_path) as (sims, _):
        done = await give(sims, text.encode("utf-16"), ListFormat.TXT)
    assert (done.errors, done.n_added) == ([], 2)


async def test_an_open_document_is_read(tmp_path):
    async with register(tmp_path) as (sims, _):
        lines = [HEAD.split(","), row(1).split(","), row(2).split(",")]
        done = await give(sims, open_document(lines), ListFormat.XLSX)
    assert (done.errors, done.n_added) == ([], 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
async def test_chinese_headings_and_words_in_every_usual_encoding(tmp_path, encoding):
    text = (
        "卡号;手机号码;持有人;部门;归属;出租方;运营商;时区;"
        "实名;核验人;核验日期;状态;PIN码\n"
        f"{CARDS[0]};138 0000 0001;王芳;销售部;租赁;某某公司;移动;Asia/Urumqi;是;"
        "李雷;2026/11/01;在用;0042\n"
    )
    async with register(tmp_path) as (sims, store):
        done = await give(sims, text.encode(encoding))
        (one,) = (await sims.list_sims(INSIDER)).items
        held = await stored_pin(store, CARDS[0])
    assert done.errors == []
    assert (one.holder, one.department, one.lessor, one.carrier, one.timezone) == (
        "王芳", "销售部", "某某公司", "移动", "Asia/Urumqi",
    )  # fmt: skip
    assert (one.ownership, one.state) == (Ownership.LEASED, CardState.ISSUED)
    assert one.verified_by == "李雷"
    assert one.verified_at == datetime(2026, 10, 31, 16, 0, tzinfo=UTC)
    assert held == "0042"


async def test_a_spreadsheet_is_read_and_a_rounded_iccid_refused_with_its_cure(tmp_path):
    head = HEAD.split(",")
    async with register(tmp_path) as (sims, _):
        good = workbook(head, row(1).split(","), [*row(2).split(",")[:-1], 4711])
        done = await give(sims, good, ListFormat.XLSX)
        damaged = row(3).split(",")
        bad = workbook(head, [int(CARDS[2]), *damaged[1:]])
        refused = await give(sims, bad, ListFormat.XLSX)
        shown = await sims.list_sims(READER)
    assert (done.n_added, done.errors) == (2, [])
    (error,) = refused.errors
    assert (error.line_no, error.field) == (2, "iccid")
    assert "rounded" in error.rule
    assert "text" in error.cure
    assert len(shown.items) == 2


@pytest.mark.parametrize(
    ("line", "name", "says"),
    [
        ("8.98600123456789E+19,,,,,,,", "iccid", "rounded"),
        ("89860012345678900000,,,,,,,", "iccid", "rounded"),
        (",,,,,,,", None, None),
        ("1234,,,,,,,", "iccid", "begin with 89"),
        (row(1, number="0105551234"), "number", "landline"),
        (row(1, number="12"), "number", "not a mobile"),
        (row(1, holder=""), "holder", "issued card"),
        (row(1, department=""), "department", "issued card"),
        (row(1, state="happy"), "state", "no state"),
        (row(1, pin="123"), "pin", "4 to 8 digits"),
        (row(1, pin="12a4"), "pin", "4 to 8 digits"),
        (row(1).replace("owned", "leased"), "ownership", None),
        (row(1).replace("owned", "stolen"), "ownership", "owned"),
        (row(1).replace("yes", "maybe"), "verified", "yes"),
        (row(1, holder="王" * 129), "holder", "128"),
    ],
)
async def test_a_faulty_line_is_told_with_its_number_and_nothing_is_imported(
    tmp_path, line, name, says
):
    async with register(tmp_path) as (sims, _):
        done = await give(sims, "\n".join([HEAD, row(5), line]))
        shown = await sims.list_sims(READER)
    if name is None:
        assert done.errors == []
        return
    if says is None:  # a leased card without lessor
        name, says = "lessor", "leased card"
    (error,) = done.errors
    assert (error.line_no, error.field) == (3, name)
    assert says in error.rule
    assert shown.items == []
    assert done.import_id is None


async def test_all_faults_are_told_at_once_and_no_pin_among_them(tmp_path):
    lines = [HEAD, row(1, pin="98765432x"), row(2, state="?"), row(2, pin="5556667777"), row(3)]
    async with register(tmp_path) as (sims, store):
        done = await give(sims, "\n".join(lines))
        trail = await store.read(lambda conn: conn.execute(select(audit_entry.c.details)).all())
    assert [error.line_no for error in done.errors] == [2, 3, 4]
    told = repr(done) + repr(trail)
    assert "98765432" not in told
    assert "5556667777" not in told


async def test_two_lines_of_one_card_or_number_are_refused(tmp_path):
    lines = [HEAD, row(1), row(1, number="13800000009"), row(2, number="13800000001")]
    async with register(tmp_path) as (sims, _):
        done = await give(sims, "\n".join(lines))
    assert [(error.line_no, error.field) for error in done.errors] == [(3, "iccid"), (4, "number")]


async def test_the_list_of_a_simulated_bank_is_taken_as_it_is(tmp_path):
    """Its columns of IMSI and modem say what the card and its bay tell by themselves."""
    bank = tmp_path / "bank"
    with BankProcess(bank, "--modems", "3") as running:
        text = (running.folder / "cards.csv").read_text("ascii")
    async with register(tmp_path) as (sims, _):
        done = await give(sims, text)
        page = await sims.list_sims(INSIDER)
    assert (done.n_cards, done.n_added, done.errors) == (3, 3, [])
    assert {one.state for one in page.items} == {CardState.PROVISIONED}
    assert all(one.has_pin for one in page.items)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "a,b\n1,2\n", "iccid,iccid\n", "iccid,pinn\n1,2\n", "number,pin\n1,2\n"]
)
async def test_what_is_no_list_of_cards_is_refused(tmp_path, text):
    async with register(tmp_path) as (sims, _):
        with pytest.raises(InvalidRequest):
            await give(sims, text)


async def test_the_same_list_again_changes_nothing(tmp_path):
    text = "\n".join([HEAD, row(1), row(2)])
    async with register(tmp_path) as (sims, _):
        await give(sims, text)
        again = await give(sims, text)
        imports = await sims.list_imports(READER)
    assert (again.n_added, again.n_known, again.n_pins, again.import_id) == (0, 2, 0, None)
    assert len(imports) == 1


async def test_a_corrected_pin_is_a_new_import_of_that_card_alone(tmp_path):
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1), row(2)]))
        again = await give(sims, "\n".join([HEAD, row(1), row(2, pin="4711")]))
        held = [await stored_pin(store, iccid) for iccid in CARDS[:2]]
        shown = await sims.show(READER, CARDS[1])
    assert (again.n_pins, again.errors) == (1, [])
    assert held == [PIN, "4711"]
    assert shown.pin_import_id == again.import_id


async def change_pins(store: Store, *, is_settled: bool) -> None:
    """The first card was proved, then given the PIN 90417365; its answer came, or got lost."""
    iccid = Iccid(CARDS[0])
    for command, new_pin in ((PinCommand.CPIN, None), (PinCommand.CPWD, "90417365")):
        request = pin_tries.TryRequest(
            iccid=iccid, bay="1", command=command, counter=3, new_pin=new_pin
        )
        cleared = await store.write_in_set(pin_tries.claim, request)
        assert isinstance(cleared, pin_tries.ClearedTry)
        if is_settled or new_pin is None:
            right = pin_tries.AttemptResult(
                attempt_id=cleared.attempt_id, outcome=AttemptOutcome.RIGHT
            )
            await store.write_in_set(pin_tries.record, right)


async def test_the_same_list_again_does_not_bury_a_pin_that_the_vault_made(tmp_path):
    text = "\n".join([HEAD, row(1), row(2)])
    async with register(tmp_path) as (sims, store):
        await give(sims, text)
        await change_pins(store, is_settled=True)
        again = await give(sims, "\n".join([text, row(3)]))
        held = [await stored_pin(store, iccid) for iccid in CARDS[:3]]
    assert (again.n_added, again.n_pins, again.n_pins_kept, again.errors) == (1, 1, 1, [])
    assert held == ["90417365", PIN, PIN]


async def test_a_list_waits_for_a_change_of_which_nobody_knows_whether_it_was_done(tmp_path):
    text = "\n".join([HEAD, row(1, pin="4711")])
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1)]))
        await change_pins(store, is_settled=False)
        done = await give(sims, text)
        pending = await store.read(lambda conn: conn.scalar(select(sim.c.pin_pending_enc)))
    assert [(error.field, error.policy) for error in done.errors] == [("pin", "SIM-06")]
    assert pending is not None


@pytest.mark.parametrize(
    ("state", "fields", "after"), [("blocked", [], "4711"), ("failed", ["pin"], "90417365")]
)
async def test_a_person_replaces_a_pin_of_the_vault_only_on_a_blocked_card(
    tmp_path, state, fields, after
):
    """A try without answer and a guess elsewhere make a right PIN look wrong."""
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1)]))
        await change_pins(store, is_settled=True)
        await store.write(lambda tx: tx.conn.execute(update(sim).values(pin_state=state)))
        done = await give(sims, "\n".join([HEAD, row(1, pin="4711")]))
        held = await stored_pin(store, CARDS[0])
    assert [error.field for error in done.errors] == fields
    assert held == after


async def test_a_registered_card_does_not_change_hands_by_a_list(tmp_path):
    async with register(tmp_path) as (sims, _):
        await give(sims, "\n".join([HEAD, row(1)]))
        done = await give(sims, "\n".join([HEAD, row(1, department="loans", holder="李雷")]))
        clash = await give(sims, "\n".join([HEAD, row(2, number="13800000001")]))
        shown = await sims.show(INSIDER, CARDS[0])
    assert {(error.field, error.policy) for error in done.errors} == {
        ("department", "SIM-05"), ("holder", "SIM-05"),
    }  # fmt: skip
    assert [error.field for error in clash.errors] == ["number"]
    assert (shown.department, shown.holder) == ("sales", "王芳")


async def test_a_card_that_nobody_uses_yet_is_handed_over_by_a_list(tmp_path):
    """A list of ICCIDs and PINs alone makes cards that a later list brings into use."""
    async with register(tmp_path) as (sims, store):
        await give(sims, f"iccid,pin\n{CARDS[0]},{PIN}\n")
        trial = await give(sims, "\n".join([HEAD, row(1)]), is_trial=True)
        before = await sims.show(INSIDER, CARDS[0])
        done = await give(sims, "\n".join([HEAD, row(1)]))
        after = await sims.show(INSIDER, CARDS[0])
        again = await give(sims, "\n".join([HEAD, row(1)]))
        acts = await store.read(lambda conn: list(conn.execute(select(audit_entry))))
    assert (before.state, before.holder, before.verified_at) == (CardState.PROVISIONED, None, None)
    assert [(one.n_completed, one.errors) for one in (trial, done, again)] == [
        (1, []), (1, []), (0, []),
    ]  # fmt: skip
    assert (after.state, after.holder, after.department) == (CardState.ISSUED, "王芳", "sales")
    assert (after.verified_by, after.is_intact) == ("keeper", True)
    (act,) = [one for one in acts if one.action == "sim.complete"]
    assert json.loads(act.details)["changed"] == ["department", "holder", "number", "state"]
    assert "王芳" not in act.details
    assert "13800000001" not in act.details


async def test_a_list_changes_no_hands_and_names_the_way(tmp_path):
    other = row(1, department="loans", holder="李雷").replace("yes,issued", ",")
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1)]))
        refused = await give(sims, "\n".join([HEAD, other]))
        await end(store, CardState.RETURNED)
        again = await give(sims, "\n".join([HEAD, other]))
        shown = await sims.show(INSIDER, CARDS[0])
    cure = "modemctl sims state ICCID returned; then ask for it: modemctl sims request ICCID"
    assert {one.cure for one in refused.errors} == {cure}
    assert {one.field for one in again.errors} == {"holder", "department"}
    assert (shown.holder, shown.state) == ("王芳", CardState.RETURNED)


async def test_a_department_takes_no_card_of_nobody_s(tmp_path):
    seller = who(Scope.SIMS_WRITE, department="sales")
    async with register(tmp_path) as (sims, _):
        await give(sims, f"iccid\n{CARDS[0]}\n")
        done = await give(sims, "\n".join([HEAD, row(1)]), principal=seller)
        shown = await sims.show(INSIDER, CARDS[0])
    assert [(one.field, one.policy) for one in done.errors] == [("department", "SEC-01")]
    assert shown.department is None


async def test_a_trial_changes_nothing(tmp_path):
    async with register(tmp_path) as (sims, _):
        done = await give(sims, "\n".join([HEAD, row(1)]), is_trial=True)
        shown = await sims.list_sims(READER)
    assert (done.n_added, done.n_pins, done.import_id) == (1, 1, None)
    assert shown.items == []


async def test_numbers_and_names_are_masked_without_the_right_to_see_them(tmp_path):
    async with register(tmp_path) as (sims, _):
        await give(sims, "\n".join([HEAD, row(1)]))
        shown = await sims.show(READER, CARDS[0])
        by_number = await sims.list_sims(READER, number="13800000001")
    assert (shown.number, shown.holder) == ("+86138****0001", "王**")
    assert [one.iccid for one in by_number.items] == [CARDS[0]]
    assert PIN not in repr(asdict(shown))


async def test_lists_are_limited_to_the_department_and_go_on_behind_a_cursor(tmp_path):
    lines = [HEAD, *(row(i, department="sales" if i % 2 else "loans") for i in range(1, 6))]
    async with register(tmp_path) as (sims, _):
        await give(sims, "\n".join(lines))
        seller = who(Scope.SIMS_READ, department="sales")
        first = await sims.list_sims(seller, limit=2)
        second = await sims.list_sims(seller, limit=2, cursor=first.next)
        foreign = await sims.list_sims(seller, department="loans")
        with pytest.raises(NotFound):
            await sims.show(seller, CARDS[1])
    assert [one.iccid for one in first.items] == [CARDS[0], CARDS[2]]
    assert [one.iccid for one in second.items] == [CARDS[4]]
    assert second.next is None
    assert foreign.items == []


async def test_a_department_imports_no_cards_of_another(tmp_path):
    seller = who(Scope.SIMS_WRITE, department="sales")
    async with register(tmp_path) as (sims, _):
        done = await give(
            sims, "\n".join([HEAD, row(1), row(2, department="loans")]), principal=seller
        )
    assert [(error.line_no, error.policy) for error in done.errors] == [(3, "SEC-01")]


async def test_a_card_lives_by_the_table_and_every_step_is_on_record(tmp_path):
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1)]))
        with store.signals.subscribe(Topic.STOP) as bell:
            lost = await end(store, CardState.LOST, "fell into the lake")
            assert await bell.wait(5)
        with pytest.raises(Conflict):
            await end(store, CardState.SUSPENDED_LOSS, "found")
        trail = await store.read(
            lambda conn: conn.execute(
                select(audit_entry.c.action, audit_entry.c.actor, audit_entry.c.details).where(
                    audit_entry.c.subject == CARDS[0]
                )
            ).all()
        )
        told = await store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "sim")).all()
        )
    assert lost.state is CardState.LOST
    assert [one.action for one in trail] == ["sim.add", "sim.state"]
    assert "fell into the lake" in trail[1].details
    assert any('"lost"' in one for one in told)


async def test_who_verified_a_card_is_noted(tmp_path):
    unverified = row(1, state="provisioned").replace("yes", "no")
    async with register(tmp_path) as (sims, _):
        await give(sims, "\n".join([HEAD, unverified]))
        verified = await sims.verify(KEEPER, CARDS[0], verified_by="李雷")
    assert verified.verified_by == "李雷"


async def test_pause_and_resume_are_audited_once(tmp_path):
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1)]))
        states = [
            (await sims.pause(KEEPER, CARDS[0], "test")).is_paused,
            (await sims.pause(KEEPER, CARDS[0], "again")).is_paused,
            (await sims.resume(KEEPER, CARDS[0], "done")).is_paused,
        ]
        trail = await store.read(
            lambda conn: conn.scalars(
                select(audit_entry.c.action).where(
                    audit_entry.c.action.in_(["sim.pause", "sim.resume"])
                )
            ).all()
        )
    assert states == [True, True, False]
    assert trail == ["sim.pause", "sim.resume"]


async def test_an_altered_row_is_shown_as_such_and_never_healed(tmp_path):
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1, state="provisioned")]))
        await store.write(lambda tx: tx.conn.execute(update(sim).values(state="issued")))
        shown = await sims.show(READER, CARDS[0])
        with pytest.raises(PolicyRefused) as refusal:
            await sims.verify(KEEPER, CARDS[0], verified_by="x")
        still = await sims.show(READER, CARDS[0])
    assert not shown.is_intact
    assert refusal.value.policy == "SEC-05"
    assert not still.is_intact


@pytest.mark.parametrize("change", [{"card_group": "vip"}, {"is_paused": False}])
async def test_pause_and_group_are_under_the_rows_mac(tmp_path, change):
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1)]))
        assert (await sims.pause(KEEPER, CARDS[0], "lost?")).is_intact
        await store.write(lambda tx: tx.conn.execute(update(sim).values(**change)))
        assert not (await sims.show(READER, CARDS[0])).is_intact


async def test_a_stopped_import_goes_on_only_by_a_person(tmp_path):
    async with register(tmp_path) as (sims, store):
        done = await give(sims, "\n".join([HEAD, row(1)]))
        with pytest.raises(Conflict):
            await sims.resume_import(KEEPER, done.import_id, "why not")
        stopped = update(pin_import).values(stopped_at=store.clock.now(), stopped_reason="x")
        await store.write(lambda tx: tx.conn.execute(stopped))
        await sims.resume_import(KEEPER, done.import_id, "PINs were checked")
        (after,) = await sims.list_imports(READER)
        with pytest.raises(NotFound):
            await sims.resume_import(KEEPER, "none", "x")
    assert after.stopped_at is None


async def test_imports_with_cards_of_another_department_are_not_seen_or_resumed(tmp_path):
    async with register(tmp_path) as (sims, store):
        loans = await give(sims, "\n".join([HEAD, row(1, department="loans")]))
        mixed = await give(
            sims, "\n".join([HEAD, row(2, department="loans"), row(3, department="sales")])
        )
        stopped = update(pin_import).values(stopped_at=store.clock.now(), stopped_reason="x")
        await store.write(lambda tx: tx.conn.execute(stopped))
        of_loans = who(Scope.SIMS_READ, Scope.SIMS_WRITE, department="loans")
        of_sales = who(Scope.SIMS_READ, Scope.SIMS_WRITE, department="sales")
        assert [one.import_id for one in await sims.list_imports(of_loans)] == [loans.import_id]
        assert await sims.list_imports(of_sales) == []
        assert len(await sims.list_imports(READER)) == 2
        for one in (loans, mixed):
            with pytest.raises(NotFound):
                await sims.resume_import(of_sales, one.import_id, "not mine")
        await sims.resume_import(of_loans, loans.import_id, "PINs were checked")


async def test_the_log_says_what_a_card_came_as_and_who_verified_it(tmp_path):
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, row(1, state="provisioned")]))
        await sims.verify(KEEPER, CARDS[0], verified_by="李雷")
        found = await store.read(
            lambda conn: {
                one.action: json.loads(one.details) for one in conn.execute(select(audit_entry))
            }
        )
    added = found["sim.add"]
    assert (added["state"], added["department"]) == ("provisioned", "sales")
    assert added["verified_by"] == "keeper"
    assert added["verified_at"] is not None
    assert found["sim.verify"]["verified_by"] == "李雷"
    assert {found[action]["source"] for action in ("sim.add", "sim.verify")} == {"test"}


@pytest.mark.parametrize(
    "call",
    [
        lambda sims: sims.pause(READER, CARDS[0], "x"),
        lambda sims: sims.verify(READER, CARDS[0], verified_by="x"),
        lambda sims: sims.resume_import(READER, "x", "x"),
        lambda sims: give(sims, HEAD, principal=READER),
        lambda sims: sims.list_sims(who()),
        lambda sims: sims.show(who(), CARDS[0]),
        lambda sims: sims.list_imports(who()),
    ],
)
async def test_every_act_needs_its_scope(tmp_path, call):
    async with register(tmp_path) as (sims, _):
        with pytest.raises(NotPermitted):
            await call(sims)


async def test_pins_and_numbers_do_not_stand_in_the_database_in_clear(tmp_path):
    async with register(tmp_path) as (sims, _):
        await give(sims, "\n".join([HEAD, row(1)]))
    for path in tmp_path.iterdir():
        octets = path.read_bytes()
        assert PIN.encode() not in octets
        assert b"13800000001" not in octets


async def test_a_list_brings_a_cards_zone_and_changes_none(tmp_path):
    """A card that is registered gets another zone by its own step, which counts anew."""
    async with register(tmp_path) as (sims, _):
        odd = await give(sims, f"iccid,timezone\n{CARDS[0]},Mars/Olympus\n")
        await give(sims, f"iccid,timezone\n{CARDS[0]},Asia/Tokyo\n")
        again = await give(sims, f"iccid,时区\n{CARDS[0]},Asia/Tokyo\n")
        other = await give(sims, f"iccid,timezone\n{CARDS[0]},UTC\n")
        shown = await sims.show(INSIDER, CARDS[0])
    assert [(one.field, one.policy) for one in odd.errors] == [("timezone", "SIM-08")]
    assert again.errors == []
    assert [(one.field, one.cure) for one in other.errors] == [
        ("timezone", "modemctl sims zone ICCID ZONE")
    ]
    assert (shown.timezone, shown.is_intact) == ("Asia/Tokyo", True)
