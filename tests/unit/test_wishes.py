"""What people ask of bays: done once, by whom it was asked, as it was asked, or not at all."""

from datetime import timedelta

from sqlalchemy import select, update

from modemctl.model import AccountId, Bay
from modemctl.store import Store, reseal, wishes
from modemctl.store.migrate import upgrade
from modemctl.store.tables import audit_entry, event, modem, wish
from modemctl.store.wishes import WishKind
from modemctl.vault import Vault
from tests.support.stores import MASTER_KEY, TestClock, open_store, take_back

BAY = Bay("left")


async def asked(store: Store, *bodies: str | None) -> list[str]:
    """AT commands, and wishes without a text."""

    def act(tx) -> list[str]:
        if tx.conn.scalar(select(modem.c.bay)) is None:
            tx.conn.execute(
                modem.insert().values(
                    bay=BAY, node_id="n1", state="ready", state_at=tx.now, updated_at=tx.now
                )
            )
        return [
            wishes.ask(
                tx, kind=WishKind.RESET if body is None else WishKind.AT, bay=BAY, body=body,
                by=AccountId("anna"),
            )
            for body in bodies
        ]  # fmt: skip

    return await store.write(act)


async def taken(store: Store) -> list[str | None]:
    (found,) = await store.write(lambda tx: wishes.take(tx, [BAY]))
    return [one.body for one in found]


async def alarms(store: Store) -> list[str]:
    return await store.read(
        lambda conn: [*conn.scalars(select(event.c.data).where(event.c.kind == "alarm"))]
    )


async def test_what_was_asked_before_a_long_stop_is_not_done_and_blames_nobody(tmp_path):
    async with open_store(tmp_path) as store:
        at, reset = await asked(store, "AT+CSQ", None)
        store.clock.advance(timedelta(hours=2).total_seconds())
        assert await taken(store) == []
        for wish_id in (at, reset):
            found = await store.read(lambda conn, one=wish_id: wishes.read(conn, store.vault, one))
            assert found.error == "nobody served it: is the bay absent?"
        assert await alarms(store) == []
        told = select(audit_entry.c.details).where(audit_entry.c.action == "modem.at.answered")
        assert len(await store.read(lambda conn: conn.scalars(told).all())) == 1


async def test_a_wish_whose_text_was_altered_is_not_done_and_is_told(tmp_path):
    async with open_store(tmp_path) as store:
        await asked(store, "AT+CSQ")
        await store.write(lambda tx: tx.conn.execute(update(wish).values(kind="reset")) and None)
        assert await taken(store) == []
        assert "tampered" in str(await alarms(store))


async def test_wishes_of_before_are_bound_to_their_rows_by_the_upgrade(tmp_path):
    async with open_store(tmp_path) as store:
        ids = await asked(store, "AT+CSQ", "AT+CGMR", None)

        def as_before(tx) -> None:
            for wish_id, body in zip(ids, ("AT+CSQ", "AT+CGMR", None), strict=True):
                place = f"wish.body_enc:{wish_id}"
                sealed = None if body is None else tx.vault.encrypt_text(body, place=place)
                ours = update(wish).where(wish.c.wish_id == wish_id)
                tx.conn.execute(ours.values(body_enc=sealed))
            done = update(wish).where(wish.c.wish_id == ids[0])
            tx.conn.execute(done.values(taken_at=tx.now, done_at=tx.now))

        await store.write(as_before)
    take_back(tmp_path, "0032")
    url = f"sqlite:///{tmp_path}/modemctl.db"
    upgrade(url, vault=Vault(MASTER_KEY), site_id="test", now=TestClock().now())
    async with open_store(tmp_path) as store:
        read = await store.read(
            lambda conn: [wishes.read(conn, store.vault, wish_id) for wish_id in ids]
        )
        assert [one.body for one in read] == ["AT+CSQ", "AT+CGMR", None]
        assert all(one.done_at is not None for one in read), "what was open is over"
        assert (await taken(store), await alarms(store)) == ([], [])
        column = next(one for one in reseal.SEALED_COLUMNS if one.column is wish.c.body_enc)
        rows = await store.read(lambda conn: conn.execute(select(wish)).mappings().all())
        opened = [store.vault.decrypt_text(one["body_enc"], place=column.place(one))
                  for one in rows]  # fmt: skip
        assert sorted(opened) == ["-", "=AT+CGMR", "=AT+CSQ"], "a rotation takes them along"
