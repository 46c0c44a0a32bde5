"""Roles for a time: the department's head asks, an administrator of IT confirms (SEC-01)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

from modemctl.errors import InvalidRequest, NotFound, PolicyRefused
from modemctl.model import Topic
from modemctl.service import dual
from modemctl.service.account_fields import check_reason, check_roles
from modemctl.service.authority_fields import iso, require_person
from modemctl.service.dual import DualKind, DualView
from modemctl.service.operators import DEPARTMENT_MANAGER
from modemctl.service.principal import ADMINISTRATOR, Principal, Scope
from modemctl.store import Connection, Store, Tx
from modemctl.store import elevations as rows
from modemctl.store.accounts import Account, find_account, find_account_named
from modemctl.store.authorities import is_authorised
from modemctl.store.dual import DualRequest
from modemctl.store.elevations import Elevation

__all__ = ["LONGEST", "Elevation", "Elevations"]

LONGEST: Final = timedelta(hours=72)
"""How long an elevation may last, where the settings say nothing else."""


class Elevations:
    """Asks for roles for a time, gives them when both have agreed, ends them."""

    def __init__(
        self,
        store: Store,
        *,
        general_department: str,
        longest: timedelta = LONGEST,
        life: timedelta = dual.LIFE,
    ) -> None:
        """`longest` bounds an elevation, `life` a request for one."""
        self._store = store
        self._general = general_department
        self._longest = longest
        self._life = life

    async def ask(
        self, who: Principal, *, account: str, roles: Collection[str], hours: int, reason: str
    ) -> DualView:
        """As head of a person's department, ask that the account has more roles for `hours`.

        An account of all departments counts as the general department's. It begins when an
        administrator confirms.

        Raises:
            NotPermitted: without `batches:approve`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: roles, hours or reason that cannot be.
            Conflict: the account is not an active person.
            PolicyRefused: SEC-01, oneself, not the department's head, or an administrator's role;
                SEC-04, a machine asks.
        """
        who.require(Scope.BATCHES_APPROVE)
        check_reason(reason)
        wanted = self._check_roles(roles)
        if not 1 <= hours <= self._longest.total_seconds() / 3600:
            raise InvalidRequest(
                f"must be 1 to {self._longest.total_seconds() / 3600:g}",
                field="hours",
                value=str(hours),
                policy="SEC-01",
            )

        def act(tx: Tx) -> DualView:
            person = find_account_named(tx.conn, tx.vault, account)
            if person is None or not who.sees(person.department):
                raise NotFound("no such account", field="account", value=account[:80])
            require_person(person)
            _require_other(person, who.account_id)
            self._require_head(tx, person, who.account_id)
            asked = dual.ask(
                tx,
                who,
                kind=DualKind.ELEVATION,
                subject=person.name,
                details={"roles": ", ".join(wanted), "hours": str(hours)},
                reason=reason,
                life=self._life,
            )
            return dual.view(asked, tx.now)

        return await self._store.write(act)

    def perform(self, tx: Tx, request: DualRequest) -> None:
        """Give the roles from now on, in the transaction that confirms it.

        Raises:
            NotFound, InvalidRequest, Conflict: it cannot be given any more.
            PolicyRefused: SEC-01, one of the two is the one whom it is given to, or the head is
                head no longer.
        """
        person = find_account_named(tx.conn, tx.vault, request.subject)
        if person is None:
            raise NotFound("no such account", field="subject", value=request.subject)
        require_person(person)
        for one in (request.asked_by, request.decided_by):
            _require_other(person, one)
        self._require_head(tx, person, request.asked_by)
        roles = self._check_roles(request.details["roles"].split(", "))
        until = tx.now + timedelta(hours=int(request.details["hours"]))
        new = rows.add(
            tx,
            account_id=person.account_id,
            roles=roles,
            valid_until=until,
            request_id=request.request_id,
        )
        tx.audit(
            request.decided_name or "",
            "elevation.grant",
            str(new.elevation_id),
            {
                "account": person.name,
                "roles": list(roles),
                "until": iso(until),
                "asked_by": request.asked_name,
                "request": request.request_id,
                "reason": request.reason,
                "policy": "SEC-01",
            },
        )

    async def list(self, who: Principal, *, limit: int = 200) -> Sequence[Elevation]:
        """The latest elevations, newest first, of accounts that one sees.

        Raises:
            NotPermitted: without `accounts:read`.
        """
        who.require(Scope.ACCOUNTS_READ)
        vault = self._store.vault

        def query(conn: Connection) -> Sequence[Elevation]:
            found = rows.find_many(conn, vault, limit=limit)
            people = {one.account_id: find_account(conn, vault, one.account_id) for one in found}
            return [
                one
                for one in found
                if (person := people[one.account_id]) is not None and who.sees(person.department)
            ]

        return await self._store.read(query)

    async def end(self, who: Principal, elevation_id: int, *, reason: str) -> Elevation:
        """End an elevation now; one person is enough to take back.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such elevation, or of a department that one does not see.
            InvalidRequest: no reason.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_reason(reason)

        def act(tx: Tx) -> Elevation:
            one = rows.find(tx.conn, tx.vault, elevation_id)
            person = None if one is None else find_account(tx.conn, tx.vault, one.account_id)
            if one is None or person is None or not who.sees(person.department):
                raise NotFound("no such elevation", field="elevation_id", value=str(elevation_id))
            if one.ended_at is not None:
                return one
            details = {"account": person.name, "reason": reason, "source": who.source}
            tx.audit(who.name, "elevation.end", str(elevation_id), {**details})
            tx.wake(Topic.STOP)
            return rows.end(tx, one)

        return await self._store.write(act)

    def _check_roles(self, roles: Collection[str]) -> Sequence[str]:
        if not roles:
            raise InvalidRequest("must name a role at least", field="roles")
        check_roles(roles)
        if ADMINISTRATOR in roles:
            raise PolicyRefused(
                "SEC-01",
                "nobody is an administrator for a time",
                field="roles",
                cure="modemctl account promote, by two administrators",
            )
        return sorted(set(roles))

    def _require_head(self, tx: Tx, person: Account, head: str) -> None:
        department = person.department or self._general
        if not is_authorised(
            tx.conn,
            tx.vault,
            account_id=head,
            kind=DEPARTMENT_MANAGER,
            department=department,
            at=tx.now,
        ):
            raise PolicyRefused(
                "SEC-01",
                f"the head of department {department} asks for this",
                cure=f"let somebody ask who is authorised as {DEPARTMENT_MANAGER} for it",
            )


def _require_other(person: Account, account_id: str | None) -> None:
    if account_id == person.account_id:
        raise PolicyRefused("SEC-01", "nobody elevates himself", cure="ask a colleague")
