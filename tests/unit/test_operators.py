"""A department's operator: two managers sign, the general department files (SMS-06)."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from modemctl.errors import InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.policy.dual import DualKind
from modemctl.service.authorities import Authorisation, Authorities
from modemctl.service.dual import Dual
from modemctl.service.operators import Operators
from modemctl.service.principal import Principal
from modemctl.store import Store
from modemctl.store.authorities import is_authorised, list_authorisations
from modemctl.store.tables import authorisation
from tests.support.people import GENERAL, RETAIL, empower, open_office, second_administrator
from tests.support.stores import open_store
from tests.unit.test_audit_replay import faults, put_back, rows_of

DAY = timedelta(days=1)


@dataclass
class Desk:
    """A company without operators, and those who make them."""

    store: Store
    operators: Operators
    dual: Dual
    who: dict[str, Principal]
    admin: Principal

    async def apply(self, name: str = "drafter", *, by: str = "dm", **changes: object) -> str:
        now = self.store.clock.now()
        form = {
            "account": name, "department": RETAIL, "valid_from": None,
            "valid_until": now + 10 * DAY, "reference": "F-8", "undertaking": "2026-01",
        }  # fmt: skip
        asked = await self.operators.apply(self.who[by], **{**form, **changes})
        return asked.request_id

    async def sign(self, request_id: str, by: str = "boss") -> None:
        await self.dual.confirm(self.who[by], request_id)

    async def appoint(self, name: str = "drafter", **changes: object) -> Authorisation:
        request_id = await self.apply(name, **changes)
        await self.sign(request_id)
        return await self.operators.file(self.admin, request_id)

    async def operator_at(self, name: str, day: float = 0) -> bool:
        at, account_id = self.store.clock.now() + day * DAY, self.who[name].account_id
        return await self.store.read(
            lambda conn: is_authorised(
                conn, self.store.vault, account_id=account_id, kind="operator",
                department=RETAIL, at=at,
            )
        )  # fmt: skip


async def open_desk(store: Store) -> Desk:
    office = await open_office(store)
    # The office's own operators leave, and the general manager is in charge of retail.
    authorities = Authorities(store, general_department=GENERAL)
    admin = await second_administrator(store)
    found = await store.read(lambda conn: list_authorisations(conn, store.vault, kind="operator"))
    for one in found:
        await authorities.withdraw(admin, one.authorisation_id, reason="leaves")
    await store.write(lambda tx: empower(tx, "gm", "manager_in_charge", RETAIL))
    office.who["boss"] = office.who["gm"]
    return Desk(store, Operators(store, general_department=GENERAL), Dual(store), office.who, admin)


@pytest.fixture
async def desk(tmp_path):
    async with open_store(tmp_path) as store:
        yield await open_desk(store)


async def refused(awaitable, match: str, policy: str = "SMS-06") -> None:
    with pytest.raises(PolicyRefused, match=match) as caught:
        await awaitable
    assert caught.value.policy == policy


async def test_two_signatures_and_filing_make_an_operator(desk, tmp_path):
    request_id = await desk.apply()
    assert not await desk.operator_at("drafter")
    await desk.sign(request_id)
    assert not await desk.operator_at("drafter")
    made = await desk.operators.file(desk.admin, request_id)
    assert await desk.operator_at("drafter")
    assert (made.request_id, made.department) == (request_id, RETAIL)
    shown = await desk.dual.get(desk.who["dm"], request_id)
    assert (shown.asked_by, shown.decided_by) == ("dm", "gm")
    assert shown.details["undertaking"] == "2026-01"
    await refused(desk.operators.file(desk.admin, request_id), "it is spent", "SEC-04")
    assert faults(tmp_path) == []


async def test_one_signature_is_not_enough(desk):
    request_id = await desk.apply()
    await refused(desk.operators.file(desk.admin, request_id), "nobody has confirmed", "SEC-04")


async def test_only_the_departments_manager_applies(desk):
    with pytest.raises(NotFound):
        await desk.apply(by="stranger")  # the manager of another department
    await refused(desk.apply(by="manager"), "word of its department_manager")
    with pytest.raises(NotPermitted):
        await desk.apply(by="checker")


async def test_the_second_signature_is_the_manager_in_charges(desk):
    request_id = await desk.apply()
    await desk.sign(request_id, by="manager")  # an approver of another kind
    await refused(desk.operators.file(desk.admin, request_id), "word of its manager_in_charge")
    assert not await desk.operator_at("drafter")


async def test_a_signature_of_who_was_removed_since_does_not_count(desk):
    request_id = await desk.apply()
    await desk.sign(request_id)
    authorities = Authorities(desk.store, general_department=GENERAL)
    for one in (await authorities.list(desk.admin, kind="department_manager", limit=9)).items:
        await authorities.withdraw(desk.admin, one.authorisation_id, reason="left")
    await refused(desk.operators.file(desk.admin, request_id), "word of its department_manager")


async def test_the_general_department_files_and_neither_signer_nor_operator(desk):
    request_id = await desk.apply()
    await desk.sign(request_id)
    with pytest.raises(NotPermitted, match="the general department files"):
        await desk.operators.file(replace(desk.admin, department=RETAIL), request_id)
    scopes = desk.admin.scopes
    signer = replace(desk.who["boss"], scopes=scopes)
    await refused(desk.operators.file(signer, request_id), "a third person", "SEC-04")
    himself = replace(desk.who["drafter"], scopes=scopes, department=None)
    await refused(desk.operators.file(himself, request_id), "makes himself an operator")
    shown = await desk.dual.list(desk.admin)  # who files it finds it
    assert [one.request_id for one in shown.items] == [request_id]
    await desk.operators.file(desk.admin, request_id)
    with pytest.raises(PolicyRefused, match="it is spent") as caught:
        await desk.operators.file(desk.admin, request_id)
    assert "operator apply" in caught.value.cure


async def test_nobody_applies_for_himself(desk):
    await refused(desk.apply("dm"), "makes himself an operator")


async def test_a_department_has_one_operator_at_a_time(desk):
    now = desk.store.clock.now()
    await desk.appoint()
    await desk.appoint(valid_from=now + 5 * DAY, valid_until=now + 20 * DAY)  # a renewal
    await refused(desk.apply("checker"), "has an operator until")
    later = {"valid_from": now + 20 * DAY, "valid_until": now + 30 * DAY}
    await desk.appoint("checker", **later)
    assert not await desk.operator_at("checker", 19)
    assert await desk.operator_at("checker", 21)


async def test_a_deputy_takes_over_at_the_date_of_the_hand_over(desk, tmp_path):
    await desk.appoint()
    at = desk.store.clock.now() + 3 * DAY
    handed = {"valid_from": at, "valid_until": at + 3 * DAY, "is_hand_over": True}
    request_id = await desk.apply("checker", **handed)
    assert await desk.operator_at("drafter", 9)  # nothing is cut before it is filed
    await desk.sign(request_id)
    await desk.operators.file(desk.admin, request_id)
    for day, name in ((0, "drafter"), (2.9, "drafter"), (3, "checker"), (5.9, "checker")):
        assert await desk.operator_at(name, day)
    assert not await desk.operator_at("checker", 2.9)
    assert not await desk.operator_at("drafter", 3)
    assert faults(tmp_path) == []


async def test_a_hand_over_that_was_filed_cannot_be_taken_back_in_the_table(tmp_path):
    async with open_store(tmp_path) as store:
        desk = await open_desk(store)
        held = await desk.appoint()
        yesterday = await rows_of(store, authorisation)
        at = store.clock.now() + DAY
        await desk.appoint("checker", valid_from=at, is_hand_over=True)
    put_back(tmp_path, authorisation, yesterday)
    found = [one for one in faults(tmp_path) if "hand_over" in one]
    assert found[0].startswith(f"authorisation {held.authorisation_id}:")


async def test_an_application_is_filed_while_it_counts_and_not_later(desk):
    request_id = await desk.apply()
    await desk.sign(request_id)
    desk.store.clock.advance(86_400)
    await refused(desk.operators.file(desk.admin, request_id), "it is expired", "SEC-04")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"department": "*"}, "department"),
        ({"department": ""}, "department"),
        ({"reference": " "}, "reference"),
        ({"undertaking": " "}, "undertaking"),
    ],
)
async def test_what_an_application_must_name(desk, changes, field):
    with pytest.raises(InvalidRequest) as caught:
        await desk.apply(**changes)
    assert caught.value.field == field


async def test_who_has_no_account_becomes_no_operator(desk):
    with pytest.raises(NotFound):
        await desk.apply("nobody")


async def test_an_application_is_made_by_its_own_command_only(desk):
    with pytest.raises(InvalidRequest, match="a command of its own"):
        await desk.dual.ask(
            desk.who["dm"], kind=DualKind.OPERATOR, subject="drafter", details={}, reason="why"
        )
