"""Accounts, keys and authorities on a real store: who gets in, who may decide, what shows."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import create_engine, select, update

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PolicyRefused,
)
from modemctl.service.accounts import (
    Account,
    AccountKind,
    Accounts,
    AccountState,
    IssuedKey,
    KeyState,
    bootstrap,
)
from modemctl.service.authorities import Authorities, RevokeReason
from modemctl.service.authority_fields import jwk_to_octets, thumbprint
from modemctl.service.gate import Gate
from modemctl.service.grants import Grants
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store
from modemctl.store.authorities import add_authorisation, is_authorised
from modemctl.store.tables import account as account_table
from modemctl.store.tables import api_key, approver_key, audit_entry, authorisation
from tests.support.people import agree, granted, unfrozen
from tests.support.stores import Databases, TestClock, open_store

STEPS = ("department_manager", "general_manager", "manager")
DAY = timedelta(days=1)


async def admin_of(store: Store, accounts: Accounts) -> Principal:
    first = await store.write(lambda tx: bootstrap(tx, name="root"))
    return await gate_of(store).authenticate(first.token, "test")


def gate_of(store: Store) -> Gate:
    return Gate(store, peers={1000: "anna", 1001: "nobody"})


async def person(
    accounts: Accounts, who: Principal, name: str, *roles: str, department: str | None = None
) -> Account:
    return await accounts.create(
        who, name=name, kind=AccountKind.PERSON, department=department, roles=roles
    )


def alter(folder: Path, table, **values) -> None:
    """What somebody with the database and no keys can do."""
    engine = create_engine(Databases.url(folder))
    with engine.begin() as conn:
        conn.execute(update(table).values(**values))
    engine.dispose()


async def audit_actions(store: Store) -> list[str]:
    return await store.read(
        lambda conn: list(conn.scalars(select(audit_entry.c.action).order_by(audit_entry.c.seq)))
    )


@pytest.fixture
def clock():
    return TestClock()


@pytest.fixture
async def store(tmp_path, clock):
    async with open_store(tmp_path, clock) as opened:
        yield opened


@pytest.fixture
def accounts(store):
    return Accounts(store, general_department="general")


@pytest.fixture
def authorities(store):
    return Authorities(store, general_department="general")


@pytest.fixture
def grants(store):
    return Grants(store, steps=STEPS)


async def test_bootstrap_gives_two_administrators_and_no_more(store, accounts):
    admin = await admin_of(store, accounts)
    assert admin.name == "root"
    assert admin.department is None
    assert Scope.ACCOUNTS_WRITE in admin.scopes
    await store.write(lambda tx: bootstrap(tx, name="other"))
    with pytest.raises(Conflict, match="there are accounts already"):
        await store.write(lambda tx: bootstrap(tx, name="third"))


async def test_bootstrap_makes_nobody_once_others_have_accounts(store, accounts):
    await person(accounts, await admin_of(store, accounts), "anna", "checker")
    for name in ("other", "anna"):
        with pytest.raises(Conflict, match="there are accounts already"):
            await store.write(lambda tx, name=name: bootstrap(tx, name=name))


async def test_bootstrap_opens_the_door_again_to_an_administrator_whose_keys_ended(
    store, accounts, clock
):
    admin = await admin_of(store, accounts)
    await person(accounts, admin, "anna", "checker")
    with pytest.raises(Conflict, match="has a key"):
        await store.write(lambda tx: bootstrap(tx, name="root"))
    clock.advance(91 * 86_400)
    issued = await store.write(lambda tx: bootstrap(tx, name="root"))
    assert (await gate_of(store).authenticate(issued.token, "test")).name == "root"


async def test_a_token_is_stored_only_as_a_keyed_hash(store, accounts, tmp_path):
    first = await store.write(lambda tx: bootstrap(tx, name="root"))
    assert first.token.startswith(f"mk_{first.key.key_id}_")
    secret = first.token.rpartition("_")[2]
    assert len(secret) == 52
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


@pytest.mark.parametrize("change", ["secret", "id", "shape", "empty", "long"])
async def test_a_wrong_token_is_refused_alike(store, accounts, change):
    first = await store.write(lambda tx: bootstrap(tx, name="root"))
    swapped = "a" if first.token[-1] != "a" else "b"
    token = {
        "secret": first.token[:-1] + swapped,
        "id": first.token.replace(first.key.key_id, "a" * 16),
        "shape": "Bearer",
        "empty": "",
        "long": first.token + "a",
    }[change]
    with pytest.raises(NotAuthenticated, match="is not known"):
        await gate_of(store).authenticate(token, "test")


async def test_a_key_expires_after_90_days_even_if_it_is_used(store, accounts, clock):
    first = await store.write(lambda tx: bootstrap(tx, name="root"))
    for _ in range(8):
        clock.advance(11 * 86_400)
        await gate_of(store).authenticate(first.token, "test")
    clock.advance(2 * 86_400)
    with pytest.raises(NotAuthenticated, match="expired") as caught:
        await gate_of(store).authenticate(first.token, "test")
    assert caught.value.policy == "SEC-02"


async def test_a_key_freezes_when_it_lay_idle_for_more_than_15_days(store, accounts, clock):
    first = await store.write(lambda tx: bootstrap(tx, name="root"))
    clock.advance(15 * 86_400)
    await gate_of(store).authenticate(first.token, "test")
    clock.advance(15 * 86_400 + 1)
    with pytest.raises(NotAuthenticated, match="frozen"):
        await gate_of(store).authenticate(first.token, "test")


async def test_use_is_noted_at_most_once_a_minute(store, accounts, clock):
    first = await store.write(lambda tx: bootstrap(tx, name="root"))
    who = await gate_of(store).authenticate(first.token, "test")
    noted = (await accounts.keys(who, who.account_id))[0].last_used_at
    turns = store.journal.turns
    clock.advance(59)
    await gate_of(store).authenticate(first.token, "test")
    assert store.journal.turns == turns
    clock.advance(1)
    await gate_of(store).authenticate(first.token, "test")
    assert (await accounts.keys(who, who.account_id))[0].last_used_at == noted + timedelta(
        seconds=60
    )


async def test_an_account_has_two_live_keys_at_most(store, accounts):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "submitter")
    first = await accounts.issue_key(admin, anna.account_id)
    await accounts.issue_key(admin, anna.account_id)
    with pytest.raises(Conflict, match="2 live keys"):
        await accounts.issue_key(admin, anna.account_id)
    await accounts.revoke_key(admin, first.key.key_id, reason="renewed")
    with pytest.raises(NotAuthenticated, match="revoked"):
        await gate_of(store).authenticate(first.token, "test")
    assert isinstance(await accounts.issue_key(admin, anna.account_id), IssuedKey)
    states = [key.state(store.clock.now()) for key in await accounts.keys(admin, anna.account_id)]
    assert sorted(states) == [KeyState.LIVE, KeyState.LIVE, KeyState.REVOKED]


async def test_one_renews_and_revokes_ones_own_key_but_not_anothers(store, accounts):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "submitter")
    issued = await accounts.issue_key(admin, anna.account_id)
    who = await gate_of(store).authenticate(issued.token, "test")
    await accounts.issue_key(who, anna.account_id)
    await accounts.revoke_key(who, issued.key.key_id, reason="stolen")
    with pytest.raises(NotPermitted):
        await accounts.issue_key(who, admin.account_id)
    with pytest.raises(NotPermitted):
        await accounts.revoke_key(who, "a" * 16, reason="x")
    with pytest.raises(NotPermitted):
        await accounts.keys(who, admin.account_id)


async def test_a_frozen_account_gets_in_by_no_door_until_it_is_reactivated(store, accounts):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "submitter")
    issued = await accounts.issue_key(admin, anna.account_id)
    await accounts.set_state(admin, anna.account_id, AccountState.FROZEN, reason="odd hours")
    for attempt in (
        gate_of(store).authenticate(issued.token, "test"),
        gate_of(store).peer(1000, "unix:uid=1000"),
    ):
        with pytest.raises(NotAuthenticated, match="frozen"):
            await attempt
    with pytest.raises(PolicyRefused, match="two persons end a freeze"):
        await accounts.set_state(admin, anna.account_id, AccountState.ACTIVE, reason="cleared")
    await unfrozen(store, admin, anna.account_id)
    assert (await gate_of(store).authenticate(issued.token, "test")).name == "anna"
    await accounts.set_state(admin, anna.account_id, AccountState.REVOKED, reason="left")
    with pytest.raises(Conflict, match="is revoked"):
        await unfrozen(store, admin, anna.account_id)


async def test_a_peer_is_the_account_that_the_configuration_names(store, accounts):
    admin = await admin_of(store, accounts)
    await person(accounts, admin, "anna", "operator", department="sales")
    who = await gate_of(store).peer(1000, "unix:uid=1000")
    assert (who.name, who.department, who.source) == ("anna", "sales", "unix:uid=1000")
    for uid in (1001, 1002):
        with pytest.raises(NotAuthenticated):
            await gate_of(store).peer(uid, f"unix:uid={uid}")


async def test_nobody_raises_himself(store, accounts, authorities, grants):
    admin = await admin_of(store, accounts)
    now = store.clock.now()
    attempts = (
        accounts.change(admin, admin.account_id, roles=["auditor"]),
        accounts.set_state(admin, admin.account_id, AccountState.FROZEN, reason="x"),
        grants.authorise(
            admin, account_id=admin.account_id, kind="manager", department="sales",
            valid_from=now, valid_until=now + DAY, reference="F-1",
        ),
        grants.register_key(
            admin, admin.account_id, public_key=bytes(32), valid_from=now, valid_until=now + DAY
        ),
    )  # fmt: skip
    for attempt in attempts:
        with pytest.raises(PolicyRefused) as caught:
            await attempt
        assert caught.value.policy == "SEC-01"


async def test_a_departments_administrator_sees_and_makes_only_its_accounts(store, accounts):
    admin = await admin_of(store, accounts)
    chief = await person(accounts, admin, "boss", department="sales")
    await agree(
        store,
        Grants(store, steps=STEPS),
        await Grants(store, steps=STEPS).promote(
            admin, chief.account_id, reason="keeps the accounts of sales"
        ),
    )
    await person(accounts, admin, "carl", "submitter", department="service")
    issued = await accounts.issue_key(
        admin, (await accounts.list(admin, cursor=None, limit=10)).items[0].account_id
    )
    boss = await gate_of(store).authenticate(issued.token, "test")
    assert boss.name == "boss"
    seen = await accounts.list(boss, cursor=None, limit=10)
    assert [one.name for one in seen.items] == ["boss"]
    carl = next(
        one for one in (await accounts.list(admin, cursor=None, limit=10)).items
        if one.name == "carl"
    )  # fmt: skip
    with pytest.raises(NotFound):
        await accounts.get(boss, carl.account_id)
    with pytest.raises(NotPermitted):
        await person(accounts, boss, "dora", "auditor", department=None)
    assert (await person(accounts, boss, "emil", department="sales")).department == "sales"


async def test_lists_page_by_name(store, accounts):
    admin = await admin_of(store, accounts)
    for name in ("b", "a", "d", "c"):
        await person(accounts, admin, name)
    names, cursor = [], None
    while True:
        page = await accounts.list(admin, cursor=cursor, limit=2)
        names += [one.name for one in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert names == ["a", "b", "c", "d", "root"]
    with pytest.raises(InvalidRequest):
        await accounts.list(admin, cursor="WzFd", limit=2)  # [1], a number


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"department": ""}, "department"),
        ({"department": "a\nb"}, "department"),
        ({"department": "*"}, "department"),
        ({"roles": ["king"]}, "roles"),
    ],
)
async def test_what_an_account_cannot_be_is_refused_with_its_field(store, accounts, values, field):
    admin = await admin_of(store, accounts)
    right = {"name": "anna", "kind": AccountKind.PERSON, "department": None, "roles": ["checker"]}
    with pytest.raises(InvalidRequest) as caught:
        await accounts.create(admin, **(right | values))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (account_table, {"roles": '["administrator","approver"]'}),
        (account_table, {"department": "other"}),
        (account_table, {"mac": b""}),
        (api_key, {"expires_at": None}),
        (api_key, {"hash": b"x" * 32}),
    ],
)
async def test_a_row_altered_without_the_key_lets_nobody_in(
    store, accounts, tmp_path, table, values
):
    first = await store.write(lambda tx: bootstrap(tx, name="root"))
    if "expires_at" in values:
        values = {"expires_at": store.clock.now() + 900 * DAY}
    alter(tmp_path, table, **values)
    with pytest.raises(NotAuthenticated) as caught:
        await gate_of(store).authenticate(first.token, "test")
    assert caught.value.policy == "SEC-05"


async def test_acts_leave_audit_entries_without_secrets(store, accounts, authorities):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "approver", department="sales")
    issued = await accounts.issue_key(admin, anna.account_id)
    await accounts.change(admin, anna.account_id, roles=["checker"])
    await accounts.revoke_key(admin, issued.key.key_id, reason="test")
    assert await audit_actions(store) == [
        "account.create", "key.issue", "account.create", "key.issue", "account.change",
        "key.revoke",
    ]  # fmt: skip
    details = await store.read(lambda conn: list(conn.scalars(select(audit_entry.c.details))))
    secret = issued.token.rpartition("_")[2]
    assert all(secret not in one and json.loads(one) for one in details)


# ---------------------------------------------------------------- authorities


async def test_an_authorisation_counts_in_its_department_and_time_only(
    store, accounts, authorities, grants, clock
):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "approver")
    now = clock.now()
    one = await granted(
        store, grants, admin, account_id=anna.account_id, kind="manager", department="sales",
        valid_from=now, valid_until=now + DAY, reference="F-1",
    )  # fmt: skip

    async def holds(**other) -> bool:
        asked = {"account_id": anna.account_id, "kind": "manager", "department": "sales", "at": now}
        return await store.read(lambda conn: is_authorised(conn, store.vault, **(asked | other)))

    assert await holds()
    assert not await holds(department="service")
    assert not await holds(kind="operator")
    assert not await holds(at=now + DAY)
    assert not await holds(at=now - DAY)
    assert not await holds(account_id=admin.account_id)
    await accounts.set_state(admin, anna.account_id, AccountState.FROZEN, reason="x")
    assert not await holds()
    await unfrozen(store, admin, anna.account_id)
    assert await holds()
    await authorities.withdraw(admin, one.authorisation_id, reason="x")
    assert not await holds()


async def test_an_authorisation_for_all_departments_covers_each(
    store, accounts, authorities, grants
):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "approver")
    now = store.clock.now()
    grant = {
        "account_id": anna.account_id, "department": "*", "valid_from": now,
        "valid_until": now + DAY, "reference": "F-1",
    }  # fmt: skip
    await granted(store, grants, admin, kind="general_manager", **grant)
    assert await store.read(
        lambda conn: is_authorised(
            conn, store.vault, account_id=anna.account_id, kind="general_manager",
            department="sales", at=now,
        )
    )  # fmt: skip
    with pytest.raises(PolicyRefused) as caught:
        await grants.authorise(admin, kind="operator", **grant)
    assert caught.value.policy == "SMS-06"


async def test_a_forged_authorisation_authorises_nothing(
    store, accounts, authorities, grants, tmp_path
):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "approver")
    now = store.clock.now()
    await granted(
        store, grants, admin, account_id=anna.account_id, kind="manager", department="sales",
        valid_from=now, valid_until=now + DAY, reference="F-1",
    )  # fmt: skip
    alter(tmp_path, authorisation, valid_until=now + 100 * DAY)
    assert not await store.read(
        lambda conn: is_authorised(
            conn, store.vault, account_id=anna.account_id, kind="manager", department="sales",
            at=now,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "king"}, "kind"),
        ({"department": ""}, "department"),
        ({"valid_until": timedelta(0)}, "valid_until"),
        ({"valid_until": timedelta(days=367)}, "valid_until"),
        ({"reference": " "}, "reference"),
    ],
)
async def test_what_an_authorisation_cannot_be_is_refused_with_its_field(
    store, accounts, authorities, grants, values, field
):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "operator")
    now = store.clock.now()
    if "valid_until" in values:
        values = {"valid_until": now + values["valid_until"]}
    right = {
        "account_id": anna.account_id, "kind": "manager", "department": "sales",
        "valid_from": now, "valid_until": now + DAY, "reference": "F-1",
    }  # fmt: skip
    with pytest.raises(InvalidRequest) as caught:
        await grants.authorise(admin, **(right | values))
    assert caught.value.field == field


async def test_a_machine_is_known_as_one_and_authorised_for_nothing(
    store, accounts, authorities, grants
):
    admin = await admin_of(store, accounts)
    robot = await accounts.create(
        admin, name="robot", kind=AccountKind.SYSTEM, department=None, roles=["operator"]
    )
    token = (await accounts.issue_key(admin, robot.account_id)).token
    assert not (await gate_of(store).authenticate(token, "test")).is_person
    assert admin.is_person
    now = store.clock.now()
    with pytest.raises(Conflict, match="not a person"):
        await grants.authorise(
            admin, account_id=robot.account_id, kind="manager", department="sales",
            valid_from=now, valid_until=now + DAY, reference="F-1",
        )  # fmt: skip
    await store.write(
        lambda tx: add_authorisation(
            tx, kind="operator", department="sales", account_id=robot.account_id,
            valid_from=now, valid_until=now + DAY, granted_by=admin.account_id,
        )
    )  # fmt: skip
    assert not await store.read(
        lambda conn: is_authorised(
            conn, store.vault, account_id=robot.account_id, kind="operator",
            department="sales", at=now,
        )
    )  # fmt: skip


async def test_one_public_key_belongs_to_one_person(store, accounts, authorities, grants, tmp_path):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "approver")
    bert = await person(accounts, admin, "bert", "approver")
    robot = await accounts.create(
        admin, name="robot", kind=AccountKind.SYSTEM, department=None, roles=["approver"]
    )
    now = store.clock.now()
    span = {"valid_from": now, "valid_until": now + DAY}
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    asked = await grants.register_key(admin, anna.account_id, public_key=public, **span)
    await agree(store, grants, asked)
    (key,) = await authorities.keys(admin, anna.account_id)
    assert key.kid == thumbprint(public) == asked.details["kid"]
    for account in (anna, bert, robot):
        with pytest.raises(Conflict) as caught:
            await grants.register_key(admin, account.account_id, public_key=public, **span)
        assert caught.value.policy == "CC-03"
    with pytest.raises(InvalidRequest):
        await grants.register_key(admin, bert.account_id, public_key=bytes(31), **span)
    ended = await authorities.revoke_key(admin, key.kid, reason=RevokeReason.COMPROMISED)
    assert ended.revoked_at == now
    assert ended.revoke_reason == "compromised"
    alter(tmp_path, approver_key, revoked_at=None)
    with pytest.raises(Exception, match="MAC"):
        await authorities.keys(admin, anna.account_id)


def test_the_thumbprint_is_that_of_rfc_8037_appendix_a3():
    jwk = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    assert thumbprint(jwk_to_octets(jwk)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "change",
    [
        {"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
        {"crv": "X25519"},
        {"x": "AA"},
        {"x": 1},
    ],
)
def test_a_jwk_that_is_no_ed25519_public_key_is_refused(change):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    with pytest.raises(InvalidRequest) as caught:
        jwk_to_octets(jwk | change)
    assert caught.value.field == "jwk"
    assert "nWGxne" not in str(caught.value)


@pytest.mark.parametrize("name", ["modemctl", "SMS", "bootstrap", "n1", "N1"])
async def test_no_account_takes_a_name_that_the_controller_acts_under(store, accounts, name):
    assert store.node_id == "n1"
    with pytest.raises(InvalidRequest, match="itself acts under"):
        await store.write(lambda tx: bootstrap(tx, name=name))
    admin = await admin_of(store, accounts)
    with pytest.raises(InvalidRequest, match="itself acts under"):
        await person(accounts, admin, name)


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        (1).to_bytes(32, "little"),
        (2**255 - 20).to_bytes(32, "little"),
        (2**255 - 19).to_bytes(32, "little"),
        (2**255 - 1 - 18 + 2**255).to_bytes(32, "little"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ],
)
async def test_a_public_key_that_everybody_can_sign_for_is_refused(
    store, accounts, authorities, grants, key
):
    admin = await admin_of(store, accounts)
    anna = await person(accounts, admin, "anna", "approver")
    with pytest.raises(InvalidRequest, match="small order"):
        await grants.register_key(admin, anna.account_id, public_key=key)
