"""The number of a holder's document: checked, encrypted, masked, found, kept apart, erased."""

import json
import re
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select, update

from modemctl.errors import InvalidRequest
from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.custody import Step
from modemctl.policy.dual import DualKind
from modemctl.policy.identities import (
    Identity,
    IdentityKind,
    NoIdentity,
    mask_identity,
    read_identity,
)
from modemctl.store import custody as history
from modemctl.store import sims
from modemctl.store.replay import replay
from modemctl.store.seals import broken_seals
from modemctl.store.tables import audit_entry, custody, event, sim
from tests.support.apis import open_api
from tests.support.card_people import open_desk
from tests.unit.test_audits import check, tamper
from tests.unit.test_records import open_archive, refused
from tests.unit.test_sims import CARDS, INSIDER, KEEPER, READER, give, register, row

HEAD = "iccid,number,holder,department,ownership,verified,state,pin,身份证号,证件类型"
WANG = "11010519491231002X"
LI = "440308199901101512"
MASKED = "110***********002X"


def line(i, identity, kind="", **facts) -> str:
    return f"{row(i, **facts)},{identity},{kind}"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (WANG, WANG),
        ("110105 19491231 002x", WANG),
        ("１１０１０５１９４９１２３１００２Ｘ", WANG),
        (LI, LI),
    ],
)
def test_a_residents_number_is_read_as_people_write_it(text, kept):
    assert read_identity(IdentityKind.RESIDENT_ID, text).number == kept


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("110105194912310021", "does not fit"),
        ("110105194912310000", "does not fit"),
        ("11010519491331002X", "date of birth"),
        ("110105491231002", "15 digits"),
        ("1.10105E+17", "spreadsheet"),
        ("E12345678", "17 digits"),
        ("", "17 digits"),
    ],
)
def test_what_is_no_residents_number_is_refused_and_not_repeated(text, rule):
    with pytest.raises(NoIdentity, match=rule) as refusal:
        read_identity(IdentityKind.RESIDENT_ID, text)
    assert len(text) < 9 or text not in f"{refusal.value} {refusal.value.cure}"


def test_every_single_wrong_digit_of_a_residents_number_is_noticed():
    for place in (*range(6), *range(14, 17)):
        for digit in "0123456789":
            if digit == WANG[place]:
                continue
            with pytest.raises(NoIdentity):
                read_identity(IdentityKind.RESIDENT_ID, WANG[:place] + digit + WANG[place + 1 :])


def test_other_documents_are_free_in_their_form():
    assert read_identity(IdentityKind.PASSPORT, "e1234 5678").number == "E12345678"
    with pytest.raises(NoIdentity):
        read_identity(IdentityKind.PASSPORT, "<script>")


@pytest.mark.parametrize(
    ("number", "shown"),
    [(WANG, MASKED), ("E12345678", "E******78"), ("12345", "*****"), ("", "")],
)
def test_a_document_is_masked_by_its_length(number, shown):
    assert mask_identity(number) == shown


async def test_a_list_brings_documents_and_only_the_right_shows_them(tmp_path):
    async with register(tmp_path) as (sims, store):
        content = [HEAD, line(1, WANG), line(2, "E12345678", "护照"), line(3, "")]
        assert (await give(sims, "\n".join(content))).errors == []
        masked = await sims.list_sims(READER)
        clear = await sims.list_sims(INSIDER)
        found = await sims.list_sims(READER, identity_number="110105 19491231 002x")
        other = await sims.list_sims(
            READER, identity_number=WANG, identity_kind=IdentityKind.PASSPORT
        )
        told = await everything_told(store)
    assert [one.identity_number for one in masked.items] == [MASKED, "E******78", None]
    assert [one.identity_number for one in clear.items] == [WANG, "E12345678", None]
    assert [one.identity_kind for one in clear.items] == ["resident_id", "passport", None]
    assert [one.iccid for one in found.items] == [CARDS[0]]
    assert other.items == []
    assert MASKED in told
    assert WANG not in told
    for file in tmp_path.iterdir():
        assert WANG.encode() not in file.read_bytes(), file.name


async def everything_told(store) -> str:
    """All that log, events and histories say."""
    texts = (audit_entry.c.details, event.c.data, custody.c.reason)
    found = [
        await store.read(lambda conn, text=text: conn.scalars(select(text)).all()) for text in texts
    ]
    return json.dumps(found, ensure_ascii=False, default=str)


async def test_faults_of_documents_are_told_by_line_without_the_number(tmp_path):
    async with register(tmp_path) as (sims, _):
        content = [
            HEAD, line(1, "110105194912310021"), line(2, WANG, "驾照"), line(3, "1.10105E+17"),
        ]  # fmt: skip
        done = await give(sims, "\n".join(content))
    assert [(one.line_no, one.field, one.policy) for one in done.errors] == [
        (2, "identity", "SIM-04"), (3, "identity_kind", "SIM-04"), (4, "identity", "SIM-04"),
    ]  # fmt: skip
    assert all(one.cure for one in done.errors)
    assert "110105" not in repr(done.errors)


async def test_a_list_completes_a_missing_document_and_changes_none(tmp_path):
    """A card in use keeps what it is, but what was never asked for may come later."""
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, line(1, "")]))
        before = await sims.show(INSIDER, CARDS[0])
        assert (await give(sims, "\n".join([HEAD, line(1, WANG)]))).n_completed == 1
        after = await sims.show(INSIDER, CARDS[0])
        again = await give(sims, "\n".join([HEAD, line(1, WANG)]))
        other = await give(sims, "\n".join([HEAD, line(1, LI)]))
        for_another = await give(sims, "\n".join([HEAD, line(1, WANG, holder="李雷")]))
        acts = await store.read(lambda conn: conn.scalars(select(audit_entry.c.action)).all())
    assert (before.identity_number, after.identity_number) == (None, WANG)
    assert (after.state, after.verified_at) == (CardState.ISSUED, before.verified_at)
    assert after.is_intact
    assert (again.errors, again.n_completed) == ([], 0)
    assert [one.field for one in other.errors] == ["identity"]
    assert [one.field for one in for_another.errors] == ["holder"]
    assert acts.count("sim.identity") == 1
    assert_whole(tmp_path)


def assert_whole(folder) -> None:
    (report,) = check(folder)
    assert report.faults == ()


async def test_a_corrected_document_leaves_both_in_the_log_masked(tmp_path):
    async with register(tmp_path) as (sims, store):
        await give(sims, "\n".join([HEAD, line(1, WANG)]))
        shown = await sims.verify(KEEPER, CARDS[0], verified_by="孙", identity_number=LI)
        with pytest.raises(InvalidRequest) as refusal:
            await sims.verify(KEEPER, CARDS[0], verified_by="孙", identity_number=LI[:-1] + "3")
        (entry,) = await store.read(
            lambda conn: conn.scalars(
                select(audit_entry.c.details).where(audit_entry.c.action == "sim.verify")
            ).all()
        )
    told = json.loads(entry)
    assert shown.identity_number == "440***********1512"
    assert (told["identity_before"], told["identity"]) == (MASKED, "440***********1512")
    assert (refusal.value.field, refusal.value.policy) == ("identity_number", "SIM-04")
    assert refusal.value.value is None
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    "forged",
    [
        {"identity_kind": "passport"}, {"identity_bidx": bytes(16)}, {"identity_enc": None},
        {"identity_enc": bytes(40)}, {"identity_kind": None, "identity_bidx": None},
        {"identity_kind": None, "identity_bidx": None, "identity_enc": None},
    ],
)  # fmt: skip
async def test_a_document_altered_in_the_database_is_noticed_and_named(tmp_path, forged):
    async with register(tmp_path) as (sims, _):
        await give(sims, "\n".join([HEAD, line(1, WANG)]))
    tamper(tmp_path, update(sim).values(forged))
    async with register(tmp_path) as (sims, _):
        assert not (await sims.show(READER, CARDS[0])).is_intact
    (report,) = check(tmp_path)
    assert f"sim {CARDS[0]}: the row was not written by modemctl" in report.faults


async def test_a_card_gets_no_other_cards_document(tmp_path):
    async with register(tmp_path) as (sims, _):
        await give(sims, "\n".join([HEAD, line(1, WANG), line(2, LI)]))
    other = select(sim.c.identity_enc).where(sim.c.iccid == CARDS[1]).scalar_subquery()
    tamper(tmp_path, update(sim).where(sim.c.iccid == CARDS[0]).values(identity_enc=other))
    async with register(tmp_path) as (sims, _):
        assert not (await sims.show(READER, CARDS[0])).is_intact


async def test_a_document_comes_with_a_request_and_goes_with_its_holder(tmp_path):
    async with open_api(tmp_path) as bench, AsyncExitStack() as stack:
        desk = await open_desk(bench, stack)
        wrong = await desk.request("anna", CARDS[0], identity_number=WANG[:-1] + "1")
        issued = await desk.issue(CARDS[0], identity_number=WANG)
        await desk.must("it", CARDS[0], "state", state="lost")
        replaced = await desk.request(
            "anna", CARDS[1], replaces=CARDS[0], number=None, holder=None, department=None
        )
        await desk.must("sun", CARDS[1], "refuse")
        asked = await desk.request("anna", CARDS[1], holder="李雷", number="13800000002")
        seen = (await desk.clients["anna"].get(f"/v1/sims/{CARDS[0]}")).json()
        pool = await desk.request("anna", CARDS[2], is_pool=True, holder=None, number=None,
                                  identity_number=WANG)  # fmt: skip
    assert wrong.status_code == 422
    assert WANG[:-1] not in wrong.text
    assert issued["identity_number"] == WANG
    assert seen["identity_number"] == MASKED
    assert replaced.json()["identity_number"] == MASKED
    assert (asked.json()["identity_kind"], asked.json()["identity_number"]) == (None, None)
    assert pool.status_code == 403
    assert_whole(tmp_path)


async def test_an_erased_document_is_a_keyed_hash_once_its_holder_has_no_card(tmp_path):
    card, kind = Iccid(CARDS[0]), IdentityKind.RESIDENT_ID
    async with open_archive(tmp_path) as archive:
        new = sims.NewCard(
            iccid=card, holder="王芳", department="sales", state=CardState.PROVISIONED,
            identity=Identity(kind=kind, number=WANG),
        )  # fmt: skip
        await archive.store.write(lambda tx: sims.add(tx, [new]))
        erase, anna = archive.erasures.erase, archive.anna
        found = await archive.erasures.preview(anna, WANG, kind=kind)
        permit = await archive.permit(DualKind.ERASURE, found.subject)
        how = {"kind": kind, "reason": "her letter", "request_id": permit}
        await refused(erase(anna, WANG, **how), "SIM-04", "has a card")
        await archive.store.write(lambda tx: sims.change_state(tx, card, CardState.RETURNED))
        held = await archive.holds.set_hold(anna, reason="case 12", iccid=card)
        await refused(erase(anna, WANG, **how), "SEC-12", "a legal hold keeps")
        lift = await archive.permit(DualKind.HOLD_LIFT, held.hold_id)
        await archive.holds.lift(anna, held.hold_id, reason="closed", request_id=lift)
        done = await erase(anna, WANG, **how)
        cards = await archive.store.read(
            lambda conn: sims.find(
                conn, archive.store.vault,
                sims.Query(identity=Identity(kind=kind, number=WANG)), after=None, limit=5,
            )
        )  # fmt: skip
        sealed = await archive.store.read(
            lambda conn: conn.scalar(select(sim.c.identity_enc).where(sim.c.iccid == card))
        )
        place = f"sim.identity_enc:{card}"
        assert archive.store.vault.decrypt(sealed, place=place) == b""
    assert (found.n_documents, found.obstacles) == (1, [f"its holder has a card: {card}"])
    assert done.n_erased == 1
    (shown,) = cards
    assert (shown.identity_kind, shown.identity_number, shown.is_intact) == (kind, None, True)


async def test_with_a_document_its_holders_name_leaves_history_and_calls(tmp_path):
    """Two cards of one person: the same hash stands for him, and every seal and entry holds."""
    kind, cards = IdentityKind.RESIDENT_ID, [Iccid(one) for one in CARDS[:2]]
    other = Iccid(CARDS[2])
    async with open_archive(tmp_path) as archive:
        store = archive.store
        whose = {"department": "sales", "state": CardState.RETURNED}
        new = [
            sims.NewCard(
                iccid=one, holder="王芳", identity=Identity(kind=kind, number=WANG), **whose
            )
            for one in cards
        ]
        new.append(sims.NewCard(iccid=other, holder="王芳", **whose))  # another one of this name

        def register_all(tx) -> None:
            sims.add(tx, new)
            acts = [
                history.Act(
                    iccid=one.iccid, step=Step.REGISTERED, account_id=archive.anna.account_id,
                    by="anna", reason="list 7",
                )
                for one in new
            ]  # fmt: skip
            history.begin(tx, acts, {one.iccid: one for one in new})
            for one in new:
                told = {"custody": 1, "step": Step.REGISTERED.value}
                tx.audit("anna", "sim.import", one.iccid, told)

        await store.write(register_all)
        found = await archive.erasures.preview(archive.anna, WANG, kind=kind)
        permit = await archive.permit(DualKind.ERASURE, found.subject)
        done = await archive.erasures.erase(
            archive.anna, WANG, kind=kind, reason="her letter", request_id=permit
        )
        lines = await store.read(
            lambda conn: [history.read(conn, store.vault, one.iccid)[0] for one in new]
        )
        holders = await store.read(
            lambda conn: conn.scalars(select(sim.c.holder).order_by(sim.c.iccid)).all()
        )
        faults = await store.read(lambda conn: [*broken_seals(conn, store.vault), *replay(conn)])
    assert done.n_erased == 4  # two documents, two lines
    first, second, third = lines
    assert re.fullmatch("erased-[0-9a-f]{16}", first.holder)
    assert (second.holder, third.holder) == (first.holder, "王芳")
    assert [one for one in holders if one] == ["王芳"]
    assert all(one.is_intact for one in lines)
    assert [one for one in faults if "sim" in one or "custody" in one] == []
