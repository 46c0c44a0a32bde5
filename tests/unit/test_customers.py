"""Registers of customers: whom a department's notices may go to (SMS-02)."""

import io
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from openpyxl import Workbook
from sqlalchemy import select

from modemctl.config import ContentSettings, CustomerRegister, Settings
from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    NotPermitted,
    PolicyRefused,
    TamperedError,
)
from modemctl.service.batches import SubmissionRules
from modemctl.service.customers import CustomerImport, Customers
from modemctl.service.erasures import Erasures
from modemctl.service.holds import Holds
from modemctl.service.principal import Principal, scopes_of
from modemctl.service.recipients import ListFormat, spool
from modemctl.store import customers as rows
from modemctl.store import erasures, optouts
from modemctl.store.replay import replay
from modemctl.store.seals import broken_seals
from modemctl.store.tables import audit_entry
from tests.support.people import RETAIL, Office, open_office
from tests.support.stores import open_store

IS_LONG = bool(os.environ.get("MODEMCTL_LONG"))
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
N_MANY = 1_000_000 if IS_LONG else 5_000
ONE, TWO, THREE = "13800000001", "13800000002", "13800000003"
SOURCE = "core banking, all accounts"
ENFORCED = Settings(content=ContentSettings(customer_register=CustomerRegister.ENFORCE))


@dataclass
class Desk:
    """An office whose notices go to customers alone, and who keeps their registers."""

    office: Office
    customers: Customers
    keeper: Principal

    async def add(self, text: str, **changes: object) -> CustomerImport:
        """Import a list of numbers, as text."""
        return await self.load(text.encode(), ListFormat.TXT, **changes)

    async def load(self, octets: bytes, form: ListFormat, **changes: object) -> CustomerImport:
        """Import a file."""
        async with spool(chunks(octets), max_octets=1 << 30) as spooled:
            values = {"department": RETAIL, "source": SOURCE, **changes}
            return await self.customers.import_list(self.keeper, spooled, form, **values)

    async def n(self) -> int:
        """How many the department has."""
        found = await self.customers.count(self.keeper, RETAIL)
        return sum(one.n for one in found.registers)

    async def faults(self) -> list[str]:
        """What the verifier says of the rows."""
        vault = self.office.store.vault
        return await self.office.store.read(
            lambda conn: [*broken_seals(conn, vault), *replay(conn)]
        )

    async def tamper(self, statement: str) -> None:
        """Change the database behind our back."""
        await self.office.store.write(lambda tx: tx.conn.exec_driver_sql(statement) and None)


async def chunks(octets: bytes) -> AsyncIterator[bytes]:
    yield octets


def customers_of(office: Office, settings: Settings = ENFORCED) -> Customers:
    rules = SubmissionRules.of(settings)
    return Customers(
        office.store,
        numbers=rules.numbers(half_width_only=True),
        content=rules.content,
        is_enforced=rules.asks_register,
    )


@asynccontextmanager
async def desk_in(folder, settings: Settings = ENFORCED):
    async with open_store(folder) as store:
        office = await open_office(store, settings)
        keeper = replace(
            office.who["system"], name="keeper", scopes=scopes_of(frozenset({"customer_keeper"}))
        )
        yield Desk(office, customers_of(office, settings), keeper)


# ---------------------------------------------------------------- whom a notice goes to


async def test_a_notice_goes_to_the_departments_customers_alone(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(f"{ONE}\n{THREE}\n")
        shown = await desk.office.submit(4)  # … 001 to 004
        removed = await desk.office.batches.removed(
            desk.office.who["checker"], shown.batch.batch_id
        )
    assert shown.totals.removed_by == {"not a customer of this department": 2}
    assert [(one.line_no, one.policy) for one in removed.items] == [(2, "SMS-02"), (4, "SMS-02")]
    assert shown.totals.n_messages == 2


async def test_a_strict_list_with_a_stranger_is_refused(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(ONE)
        with pytest.raises(
            PolicyRefused, match="line 2: not a customer of this department"
        ) as strict:
            await desk.office.submit(2, is_strict=True)
        await desk.customers.remove(desk.keeper, ONE, department=RETAIL, reason="closed")
        with pytest.raises(InvalidRequest, match="no recipient is left") as empty:
            await desk.office.submit(1)
    assert (strict.value.policy, empty.value.policy) == ("SMS-02", "SMS-02")


@pytest.mark.parametrize("kept", CustomerRegister)
async def test_other_batches_and_sites_without_a_register_ask_nobody(tmp_path, kept):
    settings = Settings(content=ContentSettings(customer_register=kept))
    async with desk_in(tmp_path, settings) as desk:
        category = "other" if kept is CustomerRegister.ENFORCE else "notice"
        shown = await desk.office.submit(3, category=category)
        assert shown.totals.n_messages == 3
        assert (await desk.customers.count(desk.keeper)).is_enforced is (category == "other")


async def test_customers_of_another_department_are_strangers(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(ONE)
        everywhere = replace(desk.keeper, department=None)
        await desk.customers.add(everywhere, TWO, department="loans", source="form 31")
        shown = await desk.office.submit(2)
        assert shown.totals.n_messages == 1
        found = await desk.customers.count(everywhere)
        assert [(one.department, one.n) for one in found.registers] == [("loans", 1), (RETAIL, 1)]
        assert [one.department for one in (await desk.customers.count(desk.keeper)).registers] == [
            RETAIL
        ]


async def test_who_opted_out_and_is_no_customer_is_named_once(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(ONE)
        await desk.office.store.write(
            lambda tx: optouts.add(tx, f"+86{TWO}", source="api", by="anna")
        )
        shown = await desk.office.submit(2)
    assert shown.totals.removed_by == {"opted out": 1}


async def test_what_was_approved_goes_on_when_a_customer_leaves(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(f"{ONE}\n{TWO}\n")
        shown = await desk.office.submit(2)
        await desk.customers.remove(desk.keeper, TWO, department=RETAIL, reason="account closed")
        started = await desk.office.start(await desk.office.approve(shown))
        assert started.progress == {"queued": 2}
        assert (await desk.office.submit(2)).totals.n_messages == 1


# ---------------------------------------------------------------- lists


async def test_a_list_says_what_became_of_each_line(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(ONE)
        text = f"{ONE}\n010-61234567\n{TWO}\n{TWO}\nabc\n"
        trial = await desk.add(text, is_trial=True)
        assert await desk.n() == 1
        done = await desk.add(text)
        assert replace(trial, is_trial=False) == done
        assert (done.n_added, done.n_known, done.n_faulty) == (1, 1, 3)
        assert [(one.line_no, one.reason) for one in done.faults] == [
            (2, "a landline"), (4, "duplicate"), (5, "letters or signs in the number"),
        ]  # fmt: skip
        assert await desk.n() == 2
        assert await desk.faults() == []


async def test_tables_are_read_as_recipients_lists_are(tmp_path):
    book, octets = Workbook(), io.BytesIO()
    book.active.append(["姓名", "手机号"])
    book.active.append(["王芳", ONE])
    book.save(octets)
    async with desk_in(tmp_path) as desk:
        gbk = f"客户,手机号\n李雷,{TWO}\n".encode("gbk")
        assert (await desk.load(gbk, ListFormat.CSV)).n_added == 1
        assert (await desk.load(octets.getvalue(), ListFormat.XLSX)).n_added == 1
        found = await desk.customers.check(desk.keeper, ONE, department=RETAIL)
        assert (found.is_customer, found.source, found.by) == (True, SOURCE, "keeper")
        assert not (await desk.customers.check(desk.keeper, THREE, department=RETAIL)).is_customer


async def test_a_long_list_is_all_there(tmp_path):
    numbers = [f"139{n:08}" for n in range(N_MANY)]
    print(f"MODEMCTL_SEED={SEED}")
    random.Random(SEED).shuffle(numbers)
    async with desk_in(tmp_path) as desk:
        begin = time.monotonic()
        done = await desk.add("\n".join(numbers))
        print(f"{N_MANY} customers in {time.monotonic() - begin:.1f} s")
        assert (done.n_added, done.n_faulty) == (N_MANY, 0)
        again = await desk.add("\n".join([*numbers[:1_500], ONE]))
        assert (again.n_added, again.n_known) == (1, 1_500)
        assert await desk.n() == N_MANY + 1
        begin = time.monotonic()
        assert await desk.faults() == []
        print(f"verified in {time.monotonic() - begin:.1f} s")


async def test_no_number_is_stored_or_told(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(ONE)
        await desk.customers.remove(desk.keeper, ONE, department=RETAIL, reason="closed")
        told = await desk.office.store.read(
            lambda conn: conn.scalars(
                select(audit_entry.c.details).where(audit_entry.c.action.startswith("customer."))
            ).all()
        )
        assert len(told) == 2
    octets = b"".join(path.read_bytes() for path in tmp_path.glob("modemctl.db*"))
    assert ONE.encode() not in octets
    assert not any(ONE in one for one in told)


# ---------------------------------------------------------------- who may


async def test_a_keeper_works_for_his_own_department(tmp_path):
    async with desk_in(tmp_path) as desk:
        customers, keeper = desk.customers, desk.keeper
        for act in (
            customers.add(keeper, ONE, department="loans", source=SOURCE),
            customers.remove(keeper, ONE, department="loans", reason="x"),
            customers.check(keeper, ONE, department="loans"),
            customers.count(keeper, "loans"),
            desk.add(ONE, department="loans"),
            customers.add(desk.office.who["system"], ONE, department=RETAIL, source=SOURCE),
        ):
            with pytest.raises(NotPermitted):
                await act
        for act in (
            customers.add(keeper, "12", department=RETAIL, source=SOURCE),
            customers.add(keeper, ONE, department=RETAIL, source="x"),
            customers.add(keeper, ONE, department=" ", source=SOURCE),
            customers.remove(keeper, ONE, department=RETAIL, reason=" "),
        ):
            with pytest.raises((InvalidRequest, NotPermitted)):
                await act
        with pytest.raises(NotFound):
            await customers.remove(keeper, ONE, department=RETAIL, reason="closed")


async def test_a_department_that_is_not_registered_keeps_no_customers(tmp_path):
    async with desk_in(tmp_path) as desk:
        keeper = replace(desk.keeper, department=None)
        for act in (
            lambda: desk.add(ONE, department="retial"),
            lambda: desk.customers.add(keeper, ONE, department="retial", source="form 31"),
        ):
            desk.keeper = keeper
            with pytest.raises(InvalidRequest, match="the department is not registered") as caught:
                await act()
            assert "did you mean retail" in (caught.value.cure or "")


# ---------------------------------------------------------------- lists that break off


async def test_a_list_that_broke_off_does_not_count_and_is_forgotten(tmp_path):
    async with desk_in(tmp_path) as desk:
        store, vault = desk.office.store, desk.office.store.vault
        token = rows.token_of(vault, RETAIL, vault.blind_index(f"+86{ONE}"))

        def half(tx) -> None:
            number = rows.begin(tx, department=RETAIL, source=SOURCE)
            assert rows.keep(tx, number, [token]) == [token]

        await store.write(half)
        assert not (await desk.customers.check(desk.keeper, ONE, department=RETAIL)).is_customer
        with pytest.raises(Conflict, match="coming in"):
            await desk.add(TWO)
        store.clock.advance(timedelta(minutes=11).total_seconds())
        assert (await desk.add(f"{ONE}\n{TWO}")).n_added == 2
        assert await desk.faults() == []


def coming_in(tx, number: str) -> tuple[int, int]:
    """A list of one number, but for its last word; with what it adds up to."""
    token = rows.token_of(tx.vault, RETAIL, tx.vault.blind_index(f"+86{number}"))
    import_no = rows.begin(tx, department=RETAIL, source=SOURCE)
    assert rows.keep(tx, import_no, [token]) == [token]
    return import_no, rows.weight_of(tx.vault, token, import_no)


async def test_a_list_that_comes_in_slowly_is_not_taken_back_by_another_node(tmp_path):
    """Fifteen minutes of a slow disk, and another department keeper's try in the midst."""
    async with desk_in(tmp_path) as desk:
        store = desk.office.store
        import_no, total = await store.write(lambda tx: coming_in(tx, ONE))
        for _ in range(3):
            store.clock.advance(timedelta(minutes=5).total_seconds())
            await store.write(lambda tx: rows.keep(tx, import_no, []))
        with pytest.raises(Conflict, match="coming in"):
            await desk.add(TWO)
        await store.write(lambda tx: rows.finish(tx, import_no, by="keeper", n=1, total=total))
        assert (await desk.n(), await desk.faults()) == (1, [])


async def test_a_list_that_is_being_taken_back_counts_no_more(tmp_path):
    """Half of its rows are gone when it goes on: what is left is not the list."""
    async with desk_in(tmp_path) as desk:
        store = desk.office.store
        import_no, total = await store.write(lambda tx: coming_in(tx, ONE))
        store.clock.advance(timedelta(minutes=11).total_seconds())
        assert not await store.write(
            lambda tx: rows.discard(tx, import_no, own=frozenset(), limit=1)
        )
        with pytest.raises(Conflict, match="taken back"):
            await store.write(lambda tx: rows.keep(tx, import_no, []))
        with pytest.raises(Conflict, match="taken back"):
            await store.write(lambda tx: rows.finish(tx, import_no, by="k", n=1, total=total))
        assert (await desk.n(), await desk.faults()) == (0, [])


async def test_a_sign_of_life_saves_a_list_that_was_to_be_taken_back(tmp_path):
    async with desk_in(tmp_path) as desk:
        store = desk.office.store
        import_no, total = await store.write(lambda tx: coming_in(tx, ONE))
        store.clock.advance(timedelta(minutes=11).total_seconds())
        now = store.clock.now()
        dead = await store.read(lambda conn: rows.broken_off(conn, RETAIL, now=now, own=()))
        assert list(dead) == [import_no]
        await store.write(lambda tx: rows.keep(tx, import_no, []))
        assert await store.write(lambda tx: rows.discard(tx, import_no, own=(), limit=1))
        await store.write(lambda tx: rows.finish(tx, import_no, by="keeper", n=1, total=total))
        assert (await desk.n(), await desk.faults()) == (1, [])


async def test_who_is_taken_out_while_his_list_comes_in_leaves_no_wrong_sum(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(TWO)
        store = desk.office.store
        import_no, total = await store.write(lambda tx: coming_in(tx, ONE))
        with pytest.raises(NotFound):
            await desk.customers.remove(desk.keeper, ONE, department=RETAIL, reason="closed")
        await store.write(lambda tx: rows.finish(tx, import_no, by="keeper", n=1, total=total))
        assert await desk.faults() == []
        await desk.customers.remove(desk.keeper, ONE, department=RETAIL, reason="closed")
        assert (await desk.n(), await desk.faults()) == (1, [])


async def test_who_is_erased_while_his_list_comes_in_spoils_that_list(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(TWO)
        store = desk.office.store
        bidx = store.vault.blind_index(f"+86{ONE}")
        import_no, total = await store.write(lambda tx: coming_in(tx, ONE))
        await store.write(
            lambda tx: erasures.erase(tx, bidx, by="anna", request_id="1", reason="her letter")
        )
        with pytest.raises(Conflict, match="erased while it came in"):
            await store.write(lambda tx: rows.finish(tx, import_no, by="k", n=1, total=total))
        assert await desk.faults() == []
        store.clock.advance(timedelta(minutes=11).total_seconds())
        assert (await desk.add(THREE)).n_added == 1
        assert (await desk.n(), await desk.faults()) == (2, [])


# ---------------------------------------------------------------- with write access, without keys


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("INSERT INTO customer SELECT * FROM old", "customer_seal retail"),
        ("DELETE FROM customer", "customer_seal retail"),
        ("DELETE FROM customer_seal", "customer_seal retail: the row is missing"),
        ("UPDATE customer_seal SET n = n + 1", "customer_seal retail"),
        ("UPDATE customer_import SET source = 'x'", "customer_import 1"),
        ("UPDATE customer SET import_no = 2", "customer_seal retail"),
        ("UPDATE customer_seal SET n = o.n, total = o.total, mac = o.mac FROM seals o",
         "customer_seal retail: the row was put back"),
    ],
)  # fmt: skip
async def test_what_was_changed_is_named(tmp_path, damage, named):
    async with desk_in(tmp_path) as desk:
        await desk.add(f"{ONE}\n{TWO}")
        await desk.tamper("CREATE TABLE old AS SELECT * FROM customer")
        await desk.tamper("CREATE TABLE seals AS SELECT * FROM customer_seal")
        await desk.customers.remove(desk.keeper, TWO, department=RETAIL, reason="closed")
        await desk.add(THREE)
        await desk.tamper("DELETE FROM old WHERE token IN (SELECT token FROM customer)")
        assert await desk.faults() == []
        await desk.tamper(damage)
        assert any(one.startswith(named) for one in await desk.faults())


async def test_a_register_whose_seal_is_gone_takes_nothing_in(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(ONE)
        await desk.tamper("DELETE FROM customer_seal")
        with pytest.raises(TamperedError):
            await desk.add(TWO)
        with pytest.raises(TamperedError):
            await desk.n()


# ---------------------------------------------------------------- erased and held


async def test_an_erased_person_leaves_every_register(tmp_path):
    async with desk_in(tmp_path) as desk:
        await desk.add(f"{ONE}\n{TWO}")
        everywhere = replace(desk.keeper, department=None)
        await desk.customers.add(everywhere, ONE, department="loans", source="form 31")
        store = desk.office.store
        bidx = store.vault.blind_index(f"+86{ONE}")
        found = await store.read(lambda conn: erasures.look(store.view(conn), bidx))
        assert (found.n_customer, found.n_rows) == (2, 2)
        n_rows = await store.write(
            lambda tx: erasures.erase(tx, bidx, by="anna", request_id="1", reason="her letter")
        )
        assert n_rows == 2
        for department in (RETAIL, "loans"):
            shown = await desk.customers.check(everywhere, ONE, department=department)
            assert not shown.is_customer
        assert await desk.n() == 1
        assert await desk.faults() == []


async def test_what_a_hold_keeps_stays_in_the_register(tmp_path):
    async with desk_in(tmp_path) as desk:
        store, numbers = desk.office.store, SubmissionRules.of(ENFORCED).numbers()
        await desk.add(ONE)
        officer = replace(
            desk.keeper,
            department=None,
            is_person=True,
            scopes=scopes_of(frozenset({"records"})),
        )
        await Holds(store, numbers=numbers).set_hold(officer, reason="case 12", number=ONE)
        with pytest.raises(PolicyRefused, match="legal hold") as refused:
            await desk.customers.remove(desk.keeper, ONE, department=RETAIL, reason="closed")
        assert refused.value.policy == "SEC-12"
        view = await Erasures(store, numbers=numbers).preview(officer, ONE)
        assert view.n_customer == 1
        assert view.obstacles
