"""Acts of two persons: who asks, who confirms, and that a permit counts once (SEC-04)."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.policy.dual import DualKind, DualState
from modemctl.service.accounts import Accounts
from modemctl.service.dual import Dual, take
from modemctl.service.principal import Principal, Scope, scopes_of
from modemctl.store import Store
from modemctl.store.accounts import (
    AccountKind,
    AccountState,
    add_account,
    change_account,
    find_account,
)
from modemctl.store.tables import dual_request
from tests.support.stores import open_store
from tests.unit.test_audit_replay import faults, put_back, rows_of
from tests.unit.test_audits import tamper

KIND = DualKind.PIN_REVEAL
CARD, OTHER = "89860012345678900007", "89860012345678900008"


@dataclass
class Desk:
    """A store with people who may ask and confirm."""

    store: Store
    dual: Dual
    anna: Principal
    bert: Principal

    async def person(
        self, name: str, role: str, department: str | None = None, kind: str = "person"
    ) -> Principal:
        account = await self.store.write(
            lambda tx: add_account(
                tx, name=name, kind=AccountKind(kind), department=department, roles=[role]
            )
        )
        return Principal(
            account_id=account.account_id, name=name, department=department,
            scopes=scopes_of(frozenset({role})), source="test", is_person=kind == "person",
        )  # fmt: skip

    async def ask(self, who: Principal | None = None, **changes: object) -> str:
        asked = {
            "kind": KIND,
            "subject": CARD,
            "details": {"for": "carrier"},
            "reason": "why",
        }
        return (await self.dual.ask(who or self.anna, **{**asked, **changes})).request_id

    async def permit(self) -> str:
        request_id = await self.ask()
        await self.dual.confirm(self.bert, request_id)
        return request_id

    async def take(self, who: Principal, request_id: str | None, **changes: object) -> None:
        wanted = {"kind": KIND, "subject": CARD, **changes}
        await self.store.write(lambda tx: take(tx, who, request_id, **wanted))


@pytest.fixture
async def desk(tmp_path):
    async with open_store(tmp_path) as store:
        desk = Desk(store, Dual(store), None, None)
        desk.anna = await desk.person("anna", "technician")
        desk.bert = await desk.person("bert", "technician")
        yield desk


async def refused(awaitable, policy: str, match: str) -> None:
    with pytest.raises(PolicyRefused, match=match) as caught:
        await awaitable
    assert caught.value.policy == policy


@pytest.mark.both_databases
async def test_what_a_second_person_confirmed_is_done_once(desk, tmp_path):
    request_id = await desk.permit()
    shown = await desk.dual.get(desk.anna, request_id)
    assert (shown.state, shown.asked_by, shown.decided_by) == ("confirmed", "anna", "bert")
    await desk.take(desk.anna, request_id, details={"for": "carrier"})
    assert (await desk.dual.get(desk.anna, request_id)).spent_at is not None
    await refused(desk.take(desk.anna, request_id), "SEC-04", "it is spent")
    assert faults(tmp_path) == []


async def test_nobody_confirms_his_own_request(desk):
    request_id = await desk.ask()
    await refused(desk.dual.confirm(desk.anna, request_id), "SEC-04", "who asked does not confirm")
    assert (await desk.dual.get(desk.anna, request_id)).state is DualState.ASKED
    await refused(desk.take(desk.anna, request_id), "SEC-04", "nobody has confirmed it yet")


async def test_who_comes_second_is_not_sent_for_a_colleague(desk):
    request_id = await desk.permit()
    with pytest.raises(PolicyRefused, match="the request is confirmed") as caught:
        await desk.dual.confirm(await desk.person("carl", "technician"), request_id)
    assert caught.value.cure == "nothing is left to confirm"


async def test_who_lacks_the_kinds_scope_neither_asks_nor_confirms(desk):
    operator = await desk.person("olga", "operator")
    auditor = await desk.person("alf", "auditor")
    with pytest.raises(NotPermitted, match="lacks sims:write"):
        await desk.ask(operator)
    request_id = await desk.ask()
    with pytest.raises(NotFound):
        await desk.dual.confirm(operator, request_id)
    with pytest.raises(NotPermitted, match="lacks sims:write"):
        await desk.dual.confirm(auditor, request_id)
    monitor = await desk.person("moni", "monitor")
    with pytest.raises(NotPermitted, match="lacks requests:use"):
        await desk.dual.list(monitor)


async def test_a_machine_is_no_person(desk):
    machine = await desk.person("robot", "technician", kind="system")
    await refused(desk.ask(machine), "SEC-04", "is a machine's")
    request_id = await desk.ask()
    await refused(desk.dual.confirm(machine, request_id), "SEC-04", "is a machine's")


async def test_a_request_is_void_after_its_time_and_so_is_a_permit(desk):
    asked, permit = await desk.ask(), await desk.permit()
    desk.store.clock.advance(24 * 3600)
    with pytest.raises(Conflict, match="expired"):
        await desk.dual.confirm(desk.bert, asked)
    await refused(desk.take(desk.anna, permit), "SEC-04", "it is expired")
    page = await desk.dual.list(desk.bert, state=DualState.EXPIRED)
    assert {one.request_id for one in page.items} == {asked, permit}
    assert (await desk.dual.list(desk.bert, state=DualState.ASKED)).items == []


async def test_how_long_a_request_lasts_is_a_setting(desk):
    dual = Dual(desk.store, life=timedelta(hours=1))
    asked = await dual.ask(desk.anna, kind=KIND, subject=CARD, details={}, reason="why")
    assert asked.expires_at - asked.asked_at == timedelta(hours=1)


@pytest.mark.parametrize(
    "changes",
    [{"kind": DualKind.EXPORT}, {"subject": OTHER}, {"details": {"for": "sale"}}],
    ids=["kind", "subject", "details"],
)
async def test_a_permit_counts_for_nothing_else(desk, changes):
    permit = await desk.permit()
    await refused(desk.take(desk.anna, permit, **changes), "SEC-04", "request for it|something")
    await desk.take(desk.anna, permit)


async def test_a_permit_is_its_askers_alone(desk):
    permit = await desk.permit()
    await refused(desk.take(desk.bert, permit), "SEC-04", "permit of who asked")
    await refused(desk.take(desk.anna, None), "SEC-04", "two persons decide this")
    await refused(desk.take(desk.anna, "none such"), "SEC-04", "no request for it")


async def test_a_permit_falls_with_who_confirmed_it(desk):
    permit = await desk.permit()

    def freeze(tx):
        before = find_account(tx.conn, tx.vault, desk.bert.account_id)
        change_account(tx, before, state=AccountState.FROZEN)

    await desk.store.write(freeze)
    await refused(desk.take(desk.anna, permit), "SEC-04", "bert, one of the two, no longer may")


async def test_an_asker_who_lost_the_role_gets_no_confirmation(desk):
    request_id = await desk.ask()

    def demote(tx):
        before = find_account(tx.conn, tx.vault, desk.anna.account_id)
        change_account(tx, before, roles=[])

    await desk.store.write(demote)
    await refused(desk.dual.confirm(desk.bert, request_id), "SEC-04", "anna, one of the two")


async def test_a_permit_can_be_refused_and_withdrawn_until_it_is_spent(desk):
    first, second, third = [await desk.permit() for _ in range(3)]
    await desk.dual.refuse(desk.bert, first, reason="second thoughts")
    await desk.dual.withdraw(desk.anna, second)
    await desk.take(desk.anna, third)
    await refused(desk.take(desk.anna, first), "SEC-04", "it is refused")
    await refused(desk.take(desk.anna, second), "SEC-04", "it is withdrawn")
    with pytest.raises(Conflict, match="spent"):
        await desk.dual.refuse(desk.bert, third, reason="too late")
    with pytest.raises(NotFound):
        await desk.dual.withdraw(desk.bert, await desk.ask())


async def test_a_department_decides_on_its_own_requests_only(desk):
    retail = await desk.person("rita", "technician", "retail")
    loans = await desk.person("lars", "technician", "loans")
    request_id = await desk.ask(retail)
    with pytest.raises(NotFound):
        await desk.dual.confirm(loans, request_id)
    assert (await desk.dual.list(loans)).items == []
    assert (await desk.dual.confirm(desk.bert, request_id)).decided_by == "bert"
    with pytest.raises(NotFound):
        await desk.dual.confirm(retail, await desk.ask())


async def test_a_kind_that_is_done_at_once_needs_no_second_act(desk, tmp_path):
    done = []
    dual = Dual(desk.store, performers={KIND: lambda _tx, one: done.append(one.subject)})
    shown = await dual.confirm(desk.bert, await desk.ask())
    assert (shown.state, done) == (DualState.SPENT, [CARD])
    assert faults(tmp_path) == []


async def test_an_act_that_fails_leaves_the_request_open(desk):
    def fail(_tx, _one):
        raise Conflict("not now")

    dual = Dual(desk.store, performers={KIND: fail})
    request_id = await desk.ask()
    with pytest.raises(Conflict, match="not now"):
        await dual.confirm(desk.bert, request_id)
    assert (await dual.get(desk.bert, request_id)).state is DualState.ASKED


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": " "},
        {"reason": "x" * 501},
        {"subject": ""},
        {"subject": "a\nb"},
        {"details": {"a": "x" * 1001}},
        {"details": {str(i): "x" for i in range(41)}},
    ],
)
async def test_a_request_that_says_too_little_or_too_much_is_refused(desk, changes):
    with pytest.raises(InvalidRequest):
        await desk.ask(**changes)


async def test_requests_come_newest_first_page_by_page(desk):
    ids = []
    for _ in range(5):
        ids.append(await desk.ask())
        desk.store.clock.advance(1)
    page = await desk.dual.list(desk.bert, limit=2)
    seen = [one.request_id for one in page.items]
    while page.next is not None:
        page = await desk.dual.list(desk.bert, limit=2, cursor=page.next)
        seen += [one.request_id for one in page.items]
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    "forged",
    [
        {"state": "confirmed", "decided_by": "bert"},
        {"subject": OTHER},
        {"details": '{"for": "sale"}'},
        {"expires_at": text("expires_at + 1")},
        {"spent_at": None, "state": "confirmed"},
    ],
    ids=["confirmed", "subject", "details", "expiry", "unspent"],
)
async def test_a_row_that_was_altered_permits_nothing(tmp_path, forged):
    async with open_store(tmp_path) as store:
        desk = Desk(store, Dual(store), None, None)
        desk.anna = await desk.person("anna", "technician")
        desk.bert = await desk.person("bert", "technician")
        request_id = await desk.permit()
        await desk.take(desk.anna, request_id)
    tamper(tmp_path, update(dual_request).values(forged))
    async with open_store(tmp_path) as store:
        desk = replace(desk, store=store, dual=Dual(store))
        await refused(
            desk.take(desk.anna, request_id, subject=str(forged.get("subject", CARD))),
            "SEC-05", "altered outside modemctl",
        )  # fmt: skip
        await refused(desk.dual.list(desk.anna), "SEC-05", "altered outside modemctl")


async def test_a_spent_permit_of_yesterday_is_named_by_the_verifier(tmp_path):
    async with open_store(tmp_path) as store:
        desk = Desk(store, Dual(store), None, None)
        desk.anna = await desk.person("anna", "technician")
        desk.bert = await desk.person("bert", "technician")
        request_id = await desk.permit()
        yesterday = await rows_of(store, dual_request)
        await desk.take(desk.anna, request_id)
    put_back(tmp_path, dual_request, yesterday)
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"dual_request {request_id}: the row was put back or changed")
    assert "(request.spend)" in fault


async def test_a_permit_that_was_put_back_and_spent_twice_is_named_by_the_verifier(tmp_path):
    async with open_store(tmp_path) as store:
        desk = Desk(store, Dual(store), None, None)
        desk.anna = await desk.person("anna", "technician")
        desk.bert = await desk.person("bert", "technician")
        request_id = await desk.permit()
        (row,) = await rows_of(store, dual_request)
        await desk.take(desk.anna, request_id)
        again = update(dual_request).values(row)
        await store.write(lambda tx: tx.conn.execute(again))
        await desk.take(desk.anna, request_id)
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"dual_request {request_id}: the row was put back or changed")


async def key_from(desk: Desk, issuer: Principal, owner: Principal) -> str:
    accounts = Accounts(desk.store, general_department="general")
    return (await accounts.issue_key(issuer, owner.account_id)).key.key_id


@pytest.mark.parametrize("is_renewed", [False, True])
@pytest.mark.parametrize("asks", ["anna", "root"])
async def test_who_has_held_the_others_key_is_not_two_persons(desk, asks, is_renewed):
    root = await desk.person("root", "administrator")
    await key_from(desk, root, desk.anna)
    if is_renewed:  # by who holds it, whoever that is
        await key_from(desk, desk.anna, desk.anna)
    asker, other = (desk.anna, root) if asks == "anna" else (root, desk.anna)
    request_id = await desk.ask(asker)
    await refused(desk.dual.confirm(other, request_id), "SEC-04", "issued the other's key")
    await desk.dual.confirm(desk.bert, request_id)
    await desk.take(asker, request_id)


async def test_a_key_issued_after_the_word_spoils_the_permit(desk):
    root = await desk.person("root", "administrator")
    request_id = await desk.ask(root)
    await desk.dual.confirm(desk.bert, request_id)
    await key_from(desk, root, desk.bert)
    await refused(desk.take(root, request_id), "SEC-04", "issued the other's key")


async def test_a_key_that_is_revoked_between_two_words_has_spoken_all_the_same(desk):
    root = await desk.person("root", "administrator")
    key_id = await key_from(desk, root, desk.anna)
    request_id = await desk.ask()  # by root, with anna's new key
    accounts = Accounts(desk.store, general_department="general")
    await accounts.revoke_key(root, key_id, reason="nobody needs it")
    await refused(desk.dual.confirm(root, request_id), "SEC-04", "issued the other's key")


async def test_a_key_that_was_revoked_before_a_request_spoils_it_not(desk):
    root = await desk.person("root", "administrator")
    key_id = await key_from(desk, root, desk.anna)
    accounts = Accounts(desk.store, general_department="general")
    await accounts.revoke_key(root, key_id, reason="nobody needs it")
    desk.store.clock.advance(1)
    request_id = await desk.ask()
    await desk.dual.confirm(root, request_id)


async def test_who_has_held_the_keys_of_both_is_not_two_persons(desk):
    root, other = [await desk.person(name, "administrator") for name in ("root", "rita")]
    for owner in (desk.anna, desk.bert):
        await key_from(desk, root, owner)
    request_id = await desk.ask()
    await refused(desk.dual.confirm(desk.bert, request_id), "SEC-04", "the keys of both")
    carl = await desk.person("carl", "technician")
    await key_from(desk, other, carl)
    await desk.dual.confirm(carl, request_id)
    await desk.take(desk.anna, request_id)


@pytest.mark.parametrize(
    ("kind", "subject", "details", "field"),
    [
        (DualKind.PIN_REVEAL, "card 7", {}, "subject"),
        (DualKind.KEY_ROTATION, "yes", {}, "subject"),
        (DualKind.PURGE, "all", {}, "subject"),
        (DualKind.ERASURE, "13800000001", {}, "subject"),
        (DualKind.HOLD_LIFT, "12", {}, "subject"),
        (DualKind.EVIDENCE_PACKAGE, "all", {}, "subject"),
        (DualKind.POLICY_CHANGE, "limits", {}, "subject"),
        (DualKind.EXPORT, "report-7", {}, "subject"),
        (DualKind.EXPORT, "cards", {}, "details"),
        (DualKind.EXPORT, "cards", {"columns": "iccid", "recipient": "a"}, "details"),
    ],
)
async def test_what_no_act_could_use_is_not_asked_for(desk, kind, subject, details, field):
    everything = replace(desk.anna, scopes=frozenset(Scope))
    with pytest.raises(InvalidRequest) as refusal:
        await desk.dual.ask(everything, kind=kind, subject=subject, details=details, reason="r")
    assert refusal.value.field == field
    assert refusal.value.cure


async def test_the_refusal_of_an_act_tells_the_whole_request_to_ask_for(desk):
    details = {"columns": "iccid", "recipient": "court, Pudong"}
    with pytest.raises(PolicyRefused) as refusal:
        await desk.take(desk.anna, None, kind=DualKind.EXPORT, subject="cards", details=details)
    assert refusal.value.cure == (
        "modemctl request ask export cards --detail columns=iccid"
        " --detail 'recipient=court, Pudong' --reason WHY; let a colleague confirm it"
    )
