"""The demo's people, their keys, and the cards they work with."""

from __future__ import annotations

import base64
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modemctl.cli.client import Client, Json, Record, records
from modemctl.demo.world import ADMINISTRATORS, DemoError, World
from modemctl.policy.approvals import sign_approval

SALES: Final = "sales"
GENERAL: Final = "general"
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one person or system of the cast is for."""

    kind: str
    department: str | None
    roles: tuple[str, ...]
    authorisations: tuple[tuple[str, str], ...] = ()
    """(what it may act as, for which department)"""
    operates: str | None = None
    """The department that it sends for."""


CAST: Final[Mapping[str, Role]] = MappingProxyType(
    {
        "approval-system": Role(kind="system", department=None, roles=("submitter", "checker")),
        "liu-drafter": Role(kind="person", department=SALES, roles=("submitter",)),
        "zhao-checker": Role(kind="person", department=None, roles=("checker",)),
        "wang-manager": Role(
            kind="person",
            department=SALES,
            roles=("approver",),
            authorisations=(("department_manager", SALES),),
        ),
        "sun-in-charge": Role(
            kind="person",
            department=None,
            roles=("approver",),
            authorisations=(("manager_in_charge", SALES), ("manager_in_charge", GENERAL)),
        ),
        "li-general-manager": Role(
            kind="person",
            department=None,
            roles=("approver",),
            authorisations=(("general_manager", SALES),),
        ),
        "he-general-office": Role(
            kind="person",
            department=None,
            roles=("approver",),
            authorisations=(("department_manager", GENERAL),),
        ),
        "zhou-operator": Role(
            kind="person",
            department=SALES,
            roles=("operator",),
            operates=SALES,
        ),
        "wu-operator": Role(
            kind="person",
            department=None,
            roles=("operator",),
            operates=GENERAL,
        ),
        "it-technician": Role(
            kind="person", department=None, roles=("technician", "monitor", "auditor")
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """An approver's private key, as it lies with the approver."""

    account_id: str
    kid: str
    seed: bytes

    def sign(self, *, digest: str, batch_id: str, step: int) -> str:
        """The compact JWS that approves one step of one batch."""
        now = datetime.now(UTC)
        return sign_approval(
            self.seed,
            kid=self.kid,
            digest=bytes.fromhex(digest),
            batch_id=batch_id,
            step=step,
            approver=self.account_id,
            issued_at=now,
            expires_at=now + _DAY,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody, known to the daemon."""

    account_ids: Mapping[str, str]
    signers: Mapping[str, Signer]


def hire(world: World) -> Cast:
    """Make the accounts, their API keys, their approvers' keys and authorisations."""
    account_ids: dict[str, str] = {}
    signers: dict[str, Signer] = {}
    with world.client(ADMINISTRATORS[0]) as admin:
        for department in (SALES, GENERAL):
            admin.post("/v1/departments", {"name": department})
        for name, role in CAST.items():
            account_id = account_ids[name] = _employ(world, admin, name, role)
            if "approver" in role.roles:
                signers[name] = _register(world, admin, account_id)
            for kind, department in role.authorisations:
                form: dict[str, Json] = {
                    "account_id": account_id,
                    "kind": kind,
                    "department": department,
                    "valid_until": _until(),
                    "reference": "demo form",
                }
                _agree(world, ADMINISTRATORS[1], admin.post("/v1/authorisations", form))
        for name, role in CAST.items():
            if role.operates is not None:
                _appoint(world, admin, name, role.operates)
    return Cast(account_ids=account_ids, signers=signers)


def _employ(world: World, admin: Client, name: str, role: Role) -> str:
    body: dict[str, Json] = {
        "name": name,
        "kind": role.kind,
        "department": role.department,
        "roles": list(role.roles),
    }
    account_id = _text(admin.post("/v1/accounts", body), "account_id")
    by = ADMINISTRATORS["manager_in_charge" in (step for step, _ in role.authorisations)]
    with world.client(by) as issuer:  # who has held two persons' keys could be both (SEC-04)
        token = _text(issuer.post(f"/v1/accounts/{account_id}/keys"), "token")
    path = world.folder / "keys" / name
    path.touch(mode=0o600)
    path.write_text(token + "\n", encoding="ascii")
    return account_id


def _register(world: World, admin: Client, account_id: str) -> Signer:
    """A key pair whose public half two administrators register."""
    private = Ed25519PrivateKey.generate()
    octets = private.public_key().public_bytes_raw()
    public = base64.urlsafe_b64encode(octets).decode().rstrip("=")
    asked = admin.post(f"/v1/accounts/{account_id}/approver-keys", {"public_key": public})
    _agree(world, ADMINISTRATORS[1], asked)
    (known,) = records(admin.get(f"/v1/accounts/{account_id}/approver-keys").get("items"))
    return Signer(account_id=account_id, kid=_text(known, "kid"), seed=private.private_bytes_raw())


def _appoint(world: World, admin: Client, name: str, department: str) -> None:
    """Both managers sign for an operator, the general department's administrator files (SMS-06)."""
    manager, in_charge = (
        next(one for one, role in CAST.items() if (step, department) in role.authorisations)
        for step in ("department_manager", "manager_in_charge")
    )
    form: dict[str, Json] = {
        "account": name,
        "department": department,
        "valid_until": _until(),
        "reference": "demo form",
        "undertaking": "demo",
    }
    with world.client(manager) as client:
        asked = client.post("/v1/operators", form)
    _agree(world, in_charge, asked)
    admin.post(f"/v1/operators/{_text(asked, 'request_id')}/file")


def _agree(world: World, name: str, asked: Record) -> None:
    with world.client(name) as client:
        client.post(f"/v1/requests/{_text(asked, 'request_id')}/confirm")


def _until() -> str:
    return (datetime.now(UTC) + 90 * _DAY).isoformat()


def write_card_list(world: World) -> int:
    """Turn the bank's cards into the register's CSV: two departments share them; returns how many.

    Every other card is the general department's, which sends promotions (SMS-03).
    """
    with (world.bank / "cards.csv").open(encoding="utf-8", newline="") as source:
        cards = list(csv.DictReader(source))
    path = world.folder / "cards.csv"
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(
            ("ICCID", "号码", "持卡人", "部门", "权属", "核验人", "核验时间", "状态", "PIN")
        )
        for index, card in enumerate(cards):
            department = SALES if index % 2 == 0 else GENERAL
            writer.writerow(
                (card["iccid"], card["number"], f"holder-{index + 1:02}", department, "owned",
                 "zhao-checker", "2026-11-01", "issued", card["pin"])
            )  # fmt: skip
    return len(cards)


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise DemoError(f"the daemon's answer has no {name}")
    return value
