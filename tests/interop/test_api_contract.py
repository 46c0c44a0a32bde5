"""schemathesis judges the API by its own document: no server error, no undocumented answer.

Each operation gets requests that fit its schema and requests that do not, half of them about rows
that exist. `MODEMCTL_LONG=1` makes thirty times as many.
"""

import asyncio
import os
import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.errors import SchemathesisError

from api.app import describe
from modemctl.lifecycle import BatchState, ModemState
from modemctl.model import Bay, Iccid
from modemctl.policy.incoming import InboxKind
from modemctl.service.accounts import AccountKind
from modemctl.service.principal import ROLES
from modemctl.store import inbox, modems, optouts
from modemctl.store.accounts import change_account
from modemctl.store.transaction import Tx
from tests.support import approved
from tests.support.apis import ApiBench, free_port, open_api, serving

LONG = os.environ.get("MODEMCTL_LONG") == "1"
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
EXAMPLES = 200 if LONG else 6
JUDGES = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",  # the last: not for what a query cannot say
]
ENDLESS = "/v1/events/stream"
MESSAGES = "/v1/messages"  # of a batch or a number
CARDS = "iccid,number,holder,department,ownership,verified,state,pin\n" + "\n".join(
    f"8986001234567890{n:04d},1391111000{n},王芳,retail,owned,yes,issued,7391468{n}"
    for n in range(1, 4)
)

CARD = Iccid("89860012345678900001")
BAY = Bay("bay-01")
Known = Mapping[str, Sequence[str]]


def fill(tx: Tx) -> None:
    """A bay with a card, people, batches in several states, a message that came."""
    change = modems.StateChange(
        facts=modems.Facts(bay=BAY, port="/dev/ttyUSB0", family="generic", iccid=CARD),
        before=ModemState.ABSENT,
        after=ModemState.READY,
        event="port_seen",
        reason="",
    )
    modems.save_changes(tx, [change])
    staff = approved.add_staff(tx)
    for state in (BatchState.RUNNING, BatchState.APPROVED, BatchState.CHECKED):
        approved.add_batch(tx, staff, approved.numbers(3), state=state)
    came = inbox.NewMessage(
        iccid=CARD, bay=BAY, sender="+8613912345678", is_sender_number=True, scts=None,
        text="请回电", concat=None, tpdu=b"\x04", kind=InboxKind.TEXT,
    )  # fmt: skip
    inbox.add(tx, [came])
    optouts.add(tx, "+8613900000001", source="test", by="test")


async def furnish(bench: ApiBench, client: httpx2.AsyncClient) -> None:
    """Rows for the requests to be about."""
    sent = await client.post(
        "/v1/sims/import", content=CARDS.encode(), headers={"Content-Type": "text/csv"}
    )
    assert sent.status_code == 200, sent.text
    await bench.store.write(fill)
    asked = await client.post(f"/v1/sims/{CARD}/puk", json={"puk": "73914682", "reason": "test"})
    assert asked.status_code == 201, asked.text
    seen = await client.post(
        "/v1/admissions", json={"imeis": ["490154203237518"], "reason": "test"}
    )
    assert seen.status_code == 200, seen.text


async def known_ids(document: dict, client: httpx2.AsyncClient) -> Known:
    """What the lists show under the names that paths ask for."""
    found: dict[str, list[str]] = defaultdict(list)
    wanted = {name for path in document["paths"] for name in re.findall(r"{(\w+)}", path)}
    lists = [
        path
        for path, methods in document["paths"].items()
        if "get" in methods and "{" not in path and path not in {ENDLESS, MESSAGES}
    ]
    for path in (*lists, MESSAGES):
        params = {"batch_id": found["batch_id"][0]} if path == MESSAGES else {}
        answer = await client.get(path, params=params)
        if answer.headers.get("content-type", "").startswith("application/json"):
            for name, value in pairs(answer.json()):
                if name in wanted and isinstance(value, str | int) and len(found[name]) < 5:
                    found[name].append(str(value))
    return found


def pairs(value: object) -> Iterator[tuple[str, object]]:
    """All names and values of a JSON document, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pairs(inner)


def requests_for(operation: APIOperation, known: Known) -> st.SearchStrategy[Case]:
    """Requests that fit and that do not, about anything and about rows that exist."""
    names = re.findall(r"{(\w+)}", operation.path)
    about: list[dict[str, object]] = [{}]
    if names and all(known.get(name) for name in names):
        rows = zip(*(known[name] for name in names), strict=False)
        about += [{"path_parameters": dict(zip(names, row, strict=True))} for row in rows]
    return st.one_of(
        operation.as_strategy(generation_mode=mode, **chosen)  # type: ignore[arg-type]
        for chosen in about
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )


def judge(
    operation: APIOperation, known: Known, url: str, token: str, answers: Counter[int]
) -> None:
    """Send requests to one operation; raises what schemathesis finds."""

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=requests_for(operation, known))
    def send(case: Case) -> None:
        answer = case.call(base_url=url, headers={"Authorization": f"Bearer {token}"})
        answers[answer.status_code] += 1
        judges = JUDGES if can_be_said(case) else JUDGES[:-1]
        case.validate_response(answer, checks=CHECKS.get_by_names(judges))

    send()


def can_be_said(case: Case) -> bool:
    """Whether a query can hold what was made up: `number=[false]` is sent as `number=false`."""
    return not any(value is None or isinstance(value, list | dict) for value in case.query.values())


async def a_key(bench: ApiBench, name: str) -> str:
    """The key of a new account that may do everything."""
    accounts = bench.services.accounts
    made = await accounts.create(
        bench.admin, name=name, kind=AccountKind.PERSON, department=None, roles=()
    )
    await bench.store.write(lambda tx: change_account(tx, made, roles=sorted(ROLES)))
    return (await accounts.issue_key(bench.admin, made.account_id)).token


@pytest.mark.timeout(5_400 if LONG else 600)
async def test_no_operation_fails_or_answers_what_it_does_not_document(tmp_path):
    print(f"MODEMCTL_SEED={SEED}")
    document = describe()
    schema = schemathesis.openapi.from_dict(document)
    faults: dict[str, str] = {}
    answers: Counter[int] = Counter()
    async with open_api(tmp_path, tcp_port=free_port()) as bench, serving(bench):
        url = f"http://127.0.0.1:{bench.settings.tcp_port}"
        async with bench.client(await a_key(bench, "furnisher")) as client:
            await furnish(bench, client)
            known = await known_ids(document, client)
        assert {"iccid", "bay", "account_id", "batch_id", "message_id", "inbox_id"} <= set(known)
        for n, found in enumerate(schema.get_all_operations()):
            operation = found.ok()
            if operation.path == ENDLESS:
                continue
            # A key of its own each time: an operation may freeze the account that calls it.
            token = await a_key(bench, f"caller-{n}")
            try:
                await asyncio.to_thread(judge, operation, known, url, token, answers)
            except (Failure, FailureGroup, SchemathesisError, HypothesisException) as error:
                faults[operation.label] = "".join(traceback.format_exception_only(error))
    print(f"{n + 1} operations, {answers.total()} requests, answered {sorted(answers.items())}")
    assert not faults, "\n\n".join(f"{name}: {what}" for name, what in faults.items())
