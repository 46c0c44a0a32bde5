"""People with keys and authorisations, and a batch that they take through its chain."""

import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modemctl.config import Settings
from modemctl.model import AccountId, Decision
from modemctl.policy.approvals import sign_approval
from modemctl.service.batches import Batches, BatchRequest, BatchView, Recipient, SubmissionRules
from modemctl.service.dual import Dual, DualKind, DualView
from modemctl.service.freezing import Freezing
from modemctl.service.grants import Grants
from modemctl.service.principal import Principal, scopes_of
from modemctl.store import Store, Tx
from modemctl.store.accounts import AccountKind, add_account, find_account_named
from modemctl.store.authorities import (
    OPERATOR,
    Authorisation,
    add_approver_key,
    add_authorisation,
    list_authorisations,
)

GENERAL = "general"
RETAIL = "retail"
ROLES = {
    "drafter": (RETAIL, "submitter", None, None),
    "system": (RETAIL, "submitter", None, None),
    "checker": (RETAIL, "checker", None, None),
    "operator": (RETAIL, "operator", OPERATOR, RETAIL),
    "general_operator": (GENERAL, "operator", OPERATOR, GENERAL),
    "dm": (RETAIL, "approver", "department_manager", RETAIL),
    "mic": (GENERAL, "approver", "manager_in_charge", GENERAL),
    "gm": (None, "approver", "general_manager", "*"),
    "manager": (RETAIL, "approver", "manager", RETAIL),
    "stranger": ("loans", "approver", "department_manager", "loans"),
}
CHAINS = {"notice": ("dm",), "promotion": ("mic", "gm"), "other": ("manager",)}
OPERATORS = {
    "notice": "operator",
    "promotion": "general_operator",
    "other": "general_operator",
}


def seed(name: str) -> bytes:
    """The Ed25519 seed of a person's key; the same in every run."""
    return name.encode().ljust(32, b".")[:32]


@dataclass
class Office:
    """A store with people in it, and the service that they use."""

    store: Store
    batches: Batches
    who: dict[str, Principal] = field(default_factory=dict)

    def sign(
        self,
        shown: BatchView,
        name: str,
        *,
        step: int = 1,
        decision: Decision = Decision.APPROVE,
        key: str | None = None,
        lifetime: timedelta = timedelta(hours=20),
    ) -> str:
        """The signed word of `name`, with the key of `key` if it is another's."""
        now = self.store.clock.now()
        return sign_approval(
            seed(key or name),
            kid=f"key-{key or name}",
            digest=bytes.fromhex(shown.digest or ""),
            batch_id=shown.batch.batch_id,
            step=step,
            approver=self.who[name].account_id,
            issued_at=now,
            expires_at=now + lifetime,
            decision=decision,
        )

    def request(self, category: str = "notice", **changes: object) -> BatchRequest:
        """A request that nothing is wrong with."""
        text = "Interest paid: see your statement."
        if category == "promotion":
            text = "【Bank】New deposit rates, 优惠 until Friday. 回T退订"
        values = {
            "batch_id": str(uuid.uuid4()),
            "category": category,
            "text": text,
            "department": RETAIL,
            "drafter": "drafter",
            "operator": OPERATORS.get(category, "operator"),
        }
        if category == "notice":
            values |= {"list_owner": "drafter", "list_source": "statements of the third quarter"}
        return BatchRequest(**{**values, **changes})

    async def submit(self, n: int = 3, category: str = "notice", **changes: object) -> BatchView:
        """Submit a batch with `n` recipients."""
        lines = [
            Recipient(line_no=i, to=f"138{i:08d}", variables={"name": f"N{i}"})
            for i in range(1, n + 1)
        ]
        return await self.batches.submit(
            self.who["system"], self.request(category, **changes), lines
        )

    async def confirm(self, shown: BatchView) -> BatchView:
        """The checker confirms."""
        digest = bytes.fromhex(shown.digest or "")
        return await self.batches.confirm(self.who["checker"], shown.batch.batch_id, digest)

    async def approve(self, shown: BatchView) -> BatchView:
        """Confirm, then all of the chain approve."""
        shown = await self.confirm(shown)
        for step, name in enumerate(CHAINS[shown.batch.category], 1):
            jws = self.sign(shown, name, step=step)
            shown = await self.batches.approve(self.who[name], shown.batch.batch_id, jws)
        return shown

    async def start(self, shown: BatchView) -> BatchView:
        """The named operator starts it."""
        operator = self.who[OPERATORS[shown.batch.category]]
        return await self.batches.start(operator, shown.batch.batch_id)


async def open_office(store: Store, settings: Settings | None = None) -> Office:
    """Add all people with keys and authorisations that hold for a year."""
    batches = Batches(store, SubmissionRules.of(settings or Settings()))
    office = Office(store, batches)

    def act(tx: Tx) -> None:
        year = tx.now + timedelta(days=365)
        for name, (department, role, kind, for_department) in ROLES.items():
            account = add_account(
                tx, name=name, kind=AccountKind.PERSON, department=department, roles=[role]
            )
            office.who[name] = Principal(
                account_id=account.account_id,
                name=name,
                department=department,
                scopes=scopes_of(frozenset({role})),
                source="test",
                is_person=True,
            )
            public = Ed25519PrivateKey.from_private_bytes(seed(name)).public_key()
            add_approver_key(
                tx,
                kid=f"key-{name}",
                account_id=account.account_id,
                public_key=public.public_bytes_raw(),
                valid_from=tx.now,
                valid_until=year,
            )
            if kind is not None and for_department is not None:
                add_authorisation(
                    tx,
                    kind=kind,
                    department=for_department,
                    account_id=account.account_id,
                    valid_from=tx.now,
                    valid_until=year,
                    granted_by=AccountId("test"),
                )

    await store.write(act)
    return office


async def second_administrator(store: Store) -> Principal:
    """An administrator beside the first one, made where there is none yet."""

    def act(tx: Tx) -> Principal:
        account = find_account_named(tx.conn, tx.vault, "second") or add_account(
            tx, name="second", kind=AccountKind.PERSON, department=None, roles=["administrator"]
        )
        return Principal(
            account_id=account.account_id,
            name=account.name,
            department=None,
            scopes=scopes_of(frozenset({"administrator"})),
            source="test",
            is_person=True,
        )

    return await store.write(act)


async def agree(store: Store, grants: Grants, asked: DualView) -> None:
    """The second administrator confirms what the first one asked for."""
    dual = Dual(store, performers={DualKind.GRANT: grants.perform})
    await dual.confirm(await second_administrator(store), asked.request_id)


async def granted(
    store: Store, grants: Grants, admin: Principal, **values: object
) -> Authorisation:
    """An authorisation that two administrators gave."""
    asked = await grants.authorise(admin, **values)
    await agree(store, grants, asked)
    found = await store.read(lambda conn: list_authorisations(conn, store.vault))
    return next(one for one in found if one.request_id == asked.request_id)


async def unfrozen(store: Store, admin: Principal, account_id: str) -> None:
    """Two administrators end a freeze."""
    freezing = Freezing(store, general_department=GENERAL)
    asked = await freezing.ask_account(admin, account_id, reason="it was himself")
    dual = Dual(store, performers={DualKind.UNFREEZE: freezing.perform})
    await dual.confirm(await second_administrator(store), asked.request_id)


def empower(tx: Tx, name: str, kind: str, department: str) -> Authorisation:
    """Let an account act as `kind` for 300 days, without the two who would have to say so."""
    account = find_account_named(tx.conn, tx.vault, name)
    assert account is not None
    return add_authorisation(
        tx,
        kind=kind,
        department=department,
        account_id=account.account_id,
        valid_from=tx.now,
        valid_until=tx.now + timedelta(days=300),
        granted_by=AccountId("test"),
    )
