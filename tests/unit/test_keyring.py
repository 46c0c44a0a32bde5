"""Rotation of the data key and of the master key; whatever ends it half way, the site opens."""

import base64
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from modemctl.errors import ConfigError, Conflict, InvalidRequest, PolicyRefused, TamperedError
from modemctl.model import Bay, Iccid
from modemctl.policy.dual import DualKind
from modemctl.policy.identities import Identity, IdentityKind
from modemctl.policy.numbers import NumberRules
from modemctl.service.dual import Dual
from modemctl.service.holds import Holds
from modemctl.service.keyring import DATA_KEY, MASTER_KEY, Keyring
from modemctl.service.principal import Principal, Scope, scopes_of
from modemctl.service.webhooks import Webhooks
from modemctl.store import (
    Store,
    calls,
    identities,
    inbox,
    keys,
    optouts,
    pins,
    puks,
    reseal,
    sims,
    wishes,
)  # fmt: skip
from modemctl.store.accounts import AccountKind, add_account, find_account_named
from modemctl.store.migrate import upgrade
from modemctl.store.tables import data_key, message, metadata, modem, sim
from modemctl.store.wishes import WishKind
from modemctl.vault import AuditKey, KeyUse, Vault
from tests.support import stores
from tests.support.apis import LOCAL_POST
from tests.support.approved import add_batch, add_cards, add_staff
from tests.support.stores import AUDIT_SEED, TestClock
from tests.unit.test_audits import AUDITOR, audits_of, tamper
from tests.unit.test_records import CARD, MARY, PAUL, incoming

OLD, NEW = stores.MASTER_KEY, bytes(range(64, 96))
N_LINES = 450


class Desk:
    """An open store with two administrators, and values in every sealed column."""

    def __init__(self, folder: Path, store: Store, people: list[Principal]) -> None:
        self.folder, self.store, (self.anna, self.bert) = folder, store, people
        self.ring = Keyring(store, master_key_file=folder / "master.key")
        self.dual = Dual(store)

    async def permit(self, subject: str) -> str:
        kind = DualKind.KEY_ROTATION
        asked = await self.dual.ask(self.anna, kind=kind, subject=subject, details={}, reason="y")
        await self.dual.confirm(self.bert, asked.request_id)
        return asked.request_id

    async def rotate(self) -> None:
        await self.ring.rotate(self.anna, request_id=await self.permit(DATA_KEY))

    async def old(self) -> dict[str, int]:
        generation = self.store.vault.generation
        return dict(await self.store.read(lambda conn: reseal.count_old(conn, generation)))

    async def is_whole(self) -> bool:
        (report,) = await audits_of(self.store, self.folder).verify(AUDITOR)
        assert report.faults == ()
        return True


@asynccontextmanager
async def opened(folder: Path, master: bytes = OLD):
    url = f"sqlite:///{folder}/modemctl.db"
    database = folder / "modemctl.db"
    is_new = not database.exists()
    vault = Vault(master)
    if is_new:
        upgrade(url, vault=vault, site_id="test", now=TestClock().now())
    key = AuditKey(AUDIT_SEED)
    async with Store(url, vault=vault, audit_key=key, clock=TestClock(), node_id="n1") as store:
        people = []
        for name in ("anna", "bert"):

            def account_of(tx, name=name):
                return find_account_named(tx.conn, tx.vault, name) or add_account(
                    tx, name=name, kind=AccountKind.PERSON, department=None,
                    roles=["administrator"],
                )  # fmt: skip

            account = await store.write(account_of)
            people.append(
                Principal(
                    account_id=account.account_id, name=name, department=None,
                    scopes=scopes_of(frozenset({"administrator"})), source="test", is_person=True,
                )
            )  # fmt: skip
        desk = Desk(folder, store, people)
        if is_new:
            await fill(desk)
        yield desk


async def fill(desk: Desk) -> None:
    """A value in every column that the vault encrypts."""
    store = desk.store

    def act(tx) -> None:
        add_cards(tx, [CARD], pin="1234")
        sealed = tx.vault.encrypt_text(PAUL, place=f"sim.number_enc:{CARD}")
        document = Identity(kind=IdentityKind.PASSPORT, number="E12345678")
        pending = tx.vault.encrypt_text("4321", place=pins.pending_place(CARD))
        bidx = tx.vault.blind_index(PAUL)
        tx.conn.execute(
            update(sim).values(
                number_enc=sealed,
                number_bidx=bidx,
                pin_pending_enc=pending,
                **identities.columns_of(tx.vault, CARD, document),
            )
        )
        row = tx.conn.execute(select(*sim.c)).mappings().one()
        tx.conn.execute(update(sim).values(mac=sims.row_mac(tx.vault, row)))
        tx.conn.execute(
            modem.insert().values(
                bay="left", node_id="n1", state="ready", state_at=tx.now, updated_at=tx.now
            )
        )
        wish_id = wishes.ask(
            tx, kind=WishKind.AT, bay=Bay("left"), body="AT+CSQ", by=desk.anna.account_id
        )
        wishes.answer(tx, [wishes.Answer(wish_id=wish_id, result="OK", error=None)])
        optouts.add(tx, "+8613700000001", source="api", by="anna")
        puks.ask(tx, Iccid(CARD), puk="73914682", reason="r", by=desk.anna.account_id, name="anna")
        add_batch(tx, add_staff(tx), [f"+86139{n:08}" for n in range(N_LINES)])

    await store.write(act)
    await store.write_in_set(inbox.add, incoming(MARY, "hello"))
    state = calls.CallState(
        iccid=CARD, bay="left", is_incoming=True, number=MARY, started_at=store.clock.now(),
        answered_at=None, ended_at=None, n_rings=2, cause=None,
    )  # fmt: skip
    await store.write_in_set(calls.save, state)
    webhooks = Webhooks(store, LOCAL_POST, site="test", general_department="general")
    await webhooks.add(desk.anna, name="crm", url="http://127.0.0.1:65535/", events=["*"])
    await webhooks.rotate_secret(desk.anna, "crm", overlap=timedelta(hours=1))
    office = Holds(store, numbers=NumberRules())
    await office.set_hold(replace(desk.anna, scopes=frozenset(Scope)), reason="r", number=MARY)


async def everything_opens(desk: Desk) -> None:
    """Each sealed value of the database, by the place that it stands in."""
    vault = desk.store.vault

    def query(conn) -> int:
        n = 0
        for one in reseal.SEALED_COLUMNS:
            table = one.column.table
            rows = conn.execute(select(*table.c).where(one.column.is_not(None))).mappings().all()
            assert rows, one.name
            for row in rows:
                vault.decrypt(row[one.column.name], place=one.place(row))
                n += 1
        return n

    assert await desk.store.read(query) > N_LINES


def test_every_encrypted_column_of_the_schema_is_rotated() -> None:
    named = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if column.name.endswith("_enc")
    }
    assert named == {one.name for one in reseal.SEALED_COLUMNS}


def test_what_earlier_versions_computed_with_a_key_is_computed_again():
    vault = Vault(OLD)
    for _ in range(2):  # the key is there for the second one as well
        assert vault.blind_index("+8613800000001").hex() == "e43d37dfd99b0528071ca179e68ccbb8"
        mac = vault.mac("batch", "a", 1, None).hex()
        assert mac == "100d057b2359d12ba2d92c62d49845093287d64a0bb448dd876cb62de2fe326d"


async def test_a_rotation_leaves_nothing_on_the_old_generation(tmp_path):
    async with opened(tmp_path) as desk:
        assert await desk.old() == {}
        await desk.rotate()
        assert desk.store.vault.generation == 2
        left = sum((await desk.old()).values())
        assert left > N_LINES
        assert (await desk.ring.show(desk.anna)).n_left == left
        before = await desk.store.read(lambda conn: conn.scalars(select(message.c.line_enc)).all())
        done = await desk.ring.finish_rotation()
        assert done is not None
        assert (done.is_over, done.n_broken) == (True, 0)
        assert await desk.old() == {}
        await everything_opens(desk)
        raw = b"".join(one.read_bytes() for one in tmp_path.glob("modemctl.db*"))
        assert not any(one in raw for one in before)
        assert not (await desk.ring.show(desk.anna)).is_rotating
        assert await desk.is_whole()
    async with opened(tmp_path) as desk:
        assert desk.store.vault.generation == 2
        await everything_opens(desk)


@pytest.mark.parametrize("n_steps", [0, 1, 3, 8, 14])
async def test_a_rotation_goes_on_where_a_crash_ended_it(tmp_path, n_steps):
    async with opened(tmp_path) as desk:
        await desk.rotate()
        for _ in range(n_steps):
            await desk.store.write(reseal.step)
    async with opened(tmp_path) as desk:
        await everything_opens(desk)
        assert await desk.is_whole()
        await desk.ring.finish_rotation()
        assert await desk.old() == {}
        await everything_opens(desk)
        assert await desk.is_whole()


async def test_values_that_come_during_a_rotation_are_of_the_new_generation(tmp_path):
    async with opened(tmp_path) as desk:
        await desk.rotate()
        for _ in range(3):
            await desk.store.write(reseal.step)
        await desk.store.write(lambda tx: optouts.add(tx, MARY, source="api", by="anna"))
        await desk.ring.finish_rotation()
        assert await desk.old() == {}
        await everything_opens(desk)


async def test_a_value_that_does_not_open_stays_and_is_counted(tmp_path):
    async with opened(tmp_path) as desk:
        tamper(tmp_path, update(message).where(message.c.line_no == 7).values(line_enc=b"\1" * 60))
        await desk.rotate()
        done = await desk.ring.finish_rotation()
        assert done is not None
        assert done.n_broken == 1
        assert await desk.old() == {"message.line_enc": 1}


async def test_nobody_rotates_alone_or_twice_at_once(tmp_path):
    async with opened(tmp_path) as desk:
        for act in (desk.ring.rotate, desk.ring.change_master):
            if act == desk.ring.change_master:
                write_key(tmp_path / "master.key.new", NEW)
            with pytest.raises(PolicyRefused, match="two persons"):
                await act(desk.anna, request_id=None)
        wrong = await desk.permit(MASTER_KEY)
        with pytest.raises(PolicyRefused, match="no request for it"):
            await desk.ring.rotate(desk.anna, request_id=wrong)
        await desk.rotate()
        with pytest.raises(Conflict, match="under way"):
            await desk.rotate()


async def test_a_generation_that_was_deleted_is_missed(tmp_path):
    async with opened(tmp_path) as desk:
        await desk.rotate()
        await desk.ring.finish_rotation()
        assert await desk.is_whole()
    tamper(tmp_path, delete(data_key).where(data_key.c.generation == 2))
    async with opened(tmp_path) as desk:
        (report,) = await audits_of(desk.store, tmp_path).verify(AUDITOR)
        assert report.faults
        with pytest.raises(TamperedError, match="a key that is not here"):
            await everything_opens(desk)


def write_key(path: Path, key: bytes) -> None:
    path.write_bytes(base64.b64encode(key) + b"\n")
    path.chmod(0o600)


async def test_another_master_key_opens_the_same_rows_and_the_first_one_no_longer(tmp_path):
    """Either opens the database until the new one did; each restart between is tried."""
    write_key(tmp_path / "master.key.new", NEW)
    async with opened(tmp_path) as desk:
        rows = await desk.store.read(lambda conn: conn.scalars(select(message.c.line_enc)).all())
        permit = await desk.permit(MASTER_KEY)
        shown = await desk.ring.change_master(desk.anna, request_id=permit)
        assert shown.is_master_changing
        with pytest.raises(Conflict, match="being changed"):
            await desk.rotate()
    for master in (OLD, NEW, OLD, NEW):  # nobody has finished it yet
        async with opened(tmp_path, master) as desk:
            await everything_opens(desk)
            if master == OLD:
                assert not await desk.store.write(keys.finish_master)
    async with opened(tmp_path, NEW) as desk:
        assert await desk.store.write(keys.finish_master)
        assert not await desk.store.write(keys.finish_master)
        assert not (await desk.ring.show(desk.anna)).is_master_changing
        assert await desk.is_whole()
    with pytest.raises(ConfigError, match="the master key is not the one"):
        async with opened(tmp_path, OLD):
            pass
    async with opened(tmp_path, NEW) as desk:
        after = await desk.store.read(lambda conn: conn.scalars(select(message.c.line_enc)).all())
        assert after == rows
        await desk.rotate()
        await desk.ring.finish_rotation()
        await everything_opens(desk)
        assert await desk.is_whole()


async def test_a_new_master_key_has_to_be_there_and_to_be_another(tmp_path):
    async with opened(tmp_path) as desk:
        with pytest.raises(InvalidRequest, match="does not exist"):
            await desk.ring.change_master(desk.anna, request_id=None)
        write_key(tmp_path / "master.key.new", OLD)
        with pytest.raises(InvalidRequest, match="it is the key in use"):
            await desk.ring.change_master(desk.anna, request_id=None)


async def test_data_keys_that_do_not_open_are_a_fault_with_a_cure(tmp_path):
    async with opened(tmp_path):
        pass
    tamper(tmp_path, update(data_key).values(wrapped=b"x" * 60))
    with pytest.raises(ConfigError, match=r"data keys cannot be opened.*restore a copy"):
        async with opened(tmp_path):
            pass
    tamper(tmp_path, delete(data_key))
    with pytest.raises(ConfigError, match="a data key is missing"):
        async with opened(tmp_path):
            pass


async def test_a_new_database_has_keys_that_no_master_key_tells(tmp_path):
    async with opened(tmp_path) as desk:
        first = Vault(OLD)
        assert desk.store.vault.blind_index(MARY) != first.blind_index(MARY)
        assert desk.store.vault.mac("t", 1) != first.mac("t", 1)
        n = await desk.store.read(
            lambda conn: conn.scalar(select(func.count()).select_from(data_key))
        )
        assert n == len(KeyUse)
        raw = b"".join(one.read_bytes() for one in tmp_path.glob("modemctl.db*"))
        assert OLD not in raw
