"""People of the register: each holds one permission; clients that ask as they do."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2

from modemctl.service.accounts import AccountKind
from tests.support.apis import ApiBench

ROLES = {
    "anna": (("card_requester",), "retail"),
    "sun": (("sales",), None),
    "head": (("department_head",), "retail"),
    "stranger": (("department_head",), "loans"),
    "it": (("technician",), None),
    "it2": (("technician",), None),
    "all": (("card_requester", "sales", "department_head", "technician"), "retail"),
}
FORM = {
    "department": "retail", "holder": "王芳", "user_name": "李雷", "purpose": "对账通知",
    "number": "13800000001", "reason": "新网点",
}  # fmt: skip
WHY = {"reason": "按流程"}


@dataclass
class Desk:
    """Clients by name."""

    clients: dict[str, httpx2.AsyncClient]

    async def do(self, name: str, iccid: str, step: str, **body: object) -> httpx2.Response:
        """One step of a card, as this person."""
        sent = {key: value for key, value in {**WHY, **body}.items() if value is not None}
        return await self.clients[name].post(f"/v1/sims/{iccid}/{step}", json=sent)

    async def must(self, name: str, iccid: str, step: str, **body: object) -> dict:
        """The same, where it has to succeed."""
        answer = await self.do(name, iccid, step, **body)
        assert answer.status_code in {200, 201}, f"{step}: {answer.status_code} {answer.text}"
        return answer.json()

    async def request(self, name: str, iccid: str, **changes: object) -> httpx2.Response:
        """Ask for a card with the form as it is filled in here."""
        return await self.do(name, iccid, "request", **{**FORM, **changes})

    async def issue(self, iccid: str, **changes: object) -> dict:
        """All five steps, each by the right person."""
        assert (await self.request("anna", iccid, **changes)).status_code == 201
        await self.must("sun", iccid, "review")
        await self.must("head", iccid, "approve")
        await self.must("it", iccid, "provision", pin="7391")
        await self.must("sun", iccid, "verify", reason=None, verified_by="孙")
        return await self.must("sun", iccid, "issue")


async def open_desk(bench: ApiBench, stack: AsyncExitStack) -> Desk:
    """All of these people with keys."""
    clients = {}
    for name, (roles, department) in ROLES.items():
        account = await bench.services.accounts.create(
            bench.admin, name=name, kind=AccountKind.PERSON, department=department, roles=roles
        )
        by = bench.admin if len(clients) % 2 else await bench.second()
        key = await bench.services.accounts.issue_key(by, account.account_id)
        clients[name] = await stack.enter_async_context(bench.client(key.token))
    return Desk(clients)
