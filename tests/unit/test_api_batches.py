"""A batch from the form to its start, over HTTP alone; lists as files; what refuses."""

import base64
import io
import json
import uuid

import httpx2
import openpyxl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modemctl.policy.approvals import sign_approval
from tests.support.apis import ApiBench, open_api

SEED = bytes(range(100, 132))


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def a_form(**changes: object) -> dict[str, object]:
    return {
        "batch_id": str(uuid.uuid4()), "category": "notice", "text": "Dear {name}, paid.",
        "department": "retail", "drafter": "drafter", "operator": "operator",
        "list_owner": "drafter", "list_source": "core banking",
    } | changes  # fmt: skip


LINES = [{"to": f"1380000{n:04d}", "variables": {"name": f"N{n}"}} for n in range(1, 6)]


class Staff:
    """Clients of the people of department retail."""

    def __init__(self, bench: ApiBench) -> None:
        self.bench = bench
        self.clients: dict[str, httpx2.AsyncClient] = {}
        self.ids: dict[str, str] = {}

    async def hire(self, name: str, role: str) -> None:
        async with self.bench.client(self.bench.admin_token) as admin:
            made = await admin.post(
                "/v1/accounts",
                json={"name": name, "kind": "person", "department": "retail", "roles": [role]},
            )
            self.ids[name] = made.json()["account_id"]
            issued = await admin.post(f"/v1/accounts/{self.ids[name]}/keys")
            self.clients[name] = self.bench.client(issued.json()["token"])

    async def ask(self, name: str, method: str, path: str, **body: object) -> httpx2.Response:
        return await self.clients[name].request(method, path, json=body or None)


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path) as opened:
        yield opened


@pytest.fixture
async def staff(bench):
    people = Staff(bench)
    for name, role in (
        ("drafter", "submitter"), ("system", "submitter"), ("checker", "checker"),
        ("manager", "approver"), ("operator", "operator"),
    ):  # fmt: skip
        await people.hire(name, role)
    await bench.empower("manager", "department_manager", "retail")
    await bench.empower("operator", "operator", "retail")
    yield people
    for client in people.clients.values():
        await client.aclose()


async def submitted(staff: Staff, **changes: object) -> dict:
    answer = await staff.ask("system", "POST", "/v1/batches", recipients=LINES, **a_form(**changes))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_batch_goes_from_its_form_to_running_over_http_alone(bench, staff):
    shown = await submitted(staff)
    where = f"/v1/batches/{shown['batch_id']}"
    assert (shown["state"], shown["n_messages"]) == ("checked", 5)
    assert shown["text"] == "Dear {name}, paid."
    confirmed = await staff.ask("checker", "POST", f"{where}/confirm", digest=shown["digest"])
    assert confirmed.json()["state"] == "awaiting_approval"
    sheet = (await staff.ask("manager", "GET", f"{where}/sheet")).json()
    assert sheet["digest"] == shown["digest"]
    assert sheet["examples"][0] == ["+8613800000001", "Dear N1, paid."]
    early = await staff.ask("operator", "POST", f"{where}/start")
    assert (early.status_code, early.json()["policy"]) == (403, "SMS-01")
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    async with bench.client(bench.admin_token) as admin:
        key = await admin.post(
            f"/v1/accounts/{staff.ids['manager']}/approver-keys",
            json={"public_key": base64url(public)},
        )
    await bench.confirm_all()
    now = bench.clock.now()
    jws = sign_approval(
        SEED, kid=key.json()["details"]["kid"], digest=bytes.fromhex(sheet["digest"]),
        batch_id=shown["batch_id"], step=sheet["step"], approver=staff.ids["manager"],
        issued_at=now, expires_at=now.replace(day=now.day + 1),
    )  # fmt: skip
    approved = await staff.ask("manager", "POST", f"{where}/approve", jws=jws)
    assert approved.json()["state"] == "approved", approved.text
    assert approved.json()["steps"][0]["approver"] == staff.ids["manager"]
    started = await staff.ask("operator", "POST", f"{where}/start")
    assert started.json()["state"] == "running"
    assert started.json()["progress"] == {"queued": 5}
    held = await staff.ask("operator", "POST", f"{where}/hold", reason="wait")
    assert held.json()["state"] == "held"
    assert (await staff.ask("operator", "POST", f"{where}/resume")).json()["state"] == "running"
    ended = await staff.ask("operator", "POST", f"{where}/cancel", reason="wrong text")
    assert ended.json()["state"] == "cancelled"
    assert ended.json()["reason"] == "wrong text"


async def test_the_text_is_shown_to_its_authors_and_to_who_may_read_personal_data(bench, staff):
    shown = await submitted(staff)
    where = f"/v1/batches/{shown['batch_id']}"

    async def texts(client: httpx2.AsyncClient) -> list[object]:
        detail, sheet = (
            (await client.get(where)).json(),
            (await client.get(f"{where}/sheet")).json(),
        )
        listed = (await client.get("/v1/batches")).json()["items"]
        assert sheet["digest"] == shown["digest"]
        return [detail["text"], sheet["header"], listed[0]["text"], sheet["examples"][0][1]]

    for name in ("drafter", "system", "checker", "manager", "operator"):
        assert all(texts_ := await texts(staff.clients[name])), name
        assert "Dear {name}, paid." in str(texts_[1])
    for role in ("auditor", "technician", "administrator", "submitter"):
        token = await bench.token_of(role, department="retail")
        async with bench.client(token) as client:
            assert await texts(client) == [None, None, None, ""]
            assert "Dear" not in (await client.get(where)).text


async def test_results_flow_line_by_line_and_are_masked_without_the_scope(staff):
    shown = await submitted(staff)
    where = f"/v1/batches/{shown['batch_id']}/results"
    plain = await staff.ask("checker", "GET", where)
    assert plain.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in plain.text.splitlines()]
    assert [one["to"] for one in lines] == [f"+861380000000{n}" for n in range(1, 6)]
    masked = await staff.ask("system", "GET", where)
    assert "13800000001" not in masked.text
    assert masked.text.count("****") == 5
    missing = await staff.ask("checker", "GET", f"/v1/batches/{uuid.uuid4()}/results")
    assert missing.status_code == 404


async def test_the_same_id_with_other_content_is_a_conflict_and_a_repeat_is_not(staff):
    form = a_form()
    first = await staff.ask("system", "POST", "/v1/batches", recipients=LINES, **form)
    again = await staff.ask("system", "POST", "/v1/batches", recipients=LINES, **form)
    assert again.json() == first.json()
    other = await staff.ask("system", "POST", "/v1/batches", recipients=LINES[:2], **form)
    assert other.status_code == 409


async def test_others_departments_do_not_see_it(bench, staff):
    shown = await submitted(staff)
    token = await bench.token_of("operator", department="loans")
    async with bench.client(token) as stranger:
        assert (await stranger.get(f"/v1/batches/{shown['batch_id']}")).status_code == 404
        assert (await stranger.get("/v1/batches")).json()["items"] == []
        assert (await stranger.get("/v1/messages")).json()["items"] == []


async def test_lists_of_batches_page_newest_first(bench, staff):
    made = []
    for _ in range(5):
        made.append((await submitted(staff))["batch_id"])
        bench.clock.advance(1)
    seen, cursor = [], None
    while True:
        params = {"limit": 2, "state": "checked"} | ({"cursor": cursor} if cursor else {})
        page = (await staff.clients["checker"].get("/v1/batches", params=params)).json()
        seen += [one["batch_id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("changes", "status", "field", "policy"),
    [
        ({"batch_id": "X"}, 422, "batch_id", None),
        ({"text": ""}, 422, "text", None),
        ({"not_after": "2020-01-01T00:00:00Z"}, 422, "not_after", None),
        ({"not_after": "2026-11-22T00:00:00"}, 422, "not_after", None),
        ({"category": "gift"}, 403, "category", "SMS-04"),
        ({"party": "somebody else"}, 403, "party", "SMS-09"),
        ({"text": "Send us your password now"}, 403, None, "SMS-12"),
        ({"recipients": []}, 422, "recipients", None),
        ({"recipients": [{"to": 13800000001}]}, 422, "recipients.0.to", None),
    ],
)
async def test_refusals_name_field_and_rule_and_keep_nothing(staff, changes, status, field, policy):
    body = {"recipients": LINES} | a_form() | changes
    answer = await staff.ask("system", "POST", "/v1/batches", **body)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    if field is not None:
        assert field in {problem["field"], *(one["field"] for one in problem["errors"])}
    assert problem["policy"] == policy
    assert "13800000001" not in answer.text
    listed = await staff.clients["system"].get("/v1/batches")
    assert listed.json()["items"] == []


# ---------------------------------------------------------------- lists as files


def workbook(numbers: list[str]) -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["手机号", "name"])
    for number in numbers:
        book.active.append([number, "Li"])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


NUMBERS = [f"1390000{n:04d}" for n in range(1, 8)]
FILES = {
    "list.txt": "\r\n".join(NUMBERS).encode(),
    "gb.TXT": ("\n".join(NUMBERS) + "\n你好\n").encode("gb18030"),
    "list.csv": ("手机号,name\n" + "".join(f"{n},李\n" for n in NUMBERS)).encode(),
    "list.ndjson": "".join(json.dumps({"to": n}) + "\n" for n in NUMBERS).encode(),
    "list.xlsx": workbook(NUMBERS),
}


async def upload(staff: Staff, name: str, content: bytes, *, query: str = "", **changes: object):
    form = {"text": "Paid."} | changes
    return await staff.clients["system"].post(
        f"/v1/batches/upload{query}",
        files={
            "request": (None, json.dumps(a_form(**form)), "application/json"),
            "list": (name, content, "application/octet-stream"),
        },
    )


@pytest.mark.parametrize("name", sorted(FILES))
async def test_a_list_comes_as_a_file_of_each_form(staff, name):
    answer = await upload(staff, name, FILES[name])
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    assert shown["n_messages"] == 7
    removed = await staff.ask("checker", "GET", f"/v1/batches/{shown['batch_id']}/removed")
    assert len(removed.json()["items"]) == shown["n_removed"] == (1 if name == "gb.TXT" else 0)


async def test_the_form_of_a_list_may_be_named(staff):
    answer = await upload(staff, "list", FILES["list.csv"], query="?format=csv&encoding=utf-8")
    assert answer.status_code == 201
    unknown = await upload(staff, "list.pdf", b"x")
    assert unknown.status_code == 422
    assert unknown.json()["field"] == "format"


async def test_a_list_over_the_cap_is_413_and_a_missing_part_is_named(tmp_path):
    async with open_api(tmp_path, max_list_bytes=4_096) as bench:
        token = await bench.token_of("submitter", department="retail")
        async with bench.client(token) as client:
            large = await client.post(
                "/v1/batches/upload",
                files={"request": (None, "{}"), "list": ("l.txt", b"1" * 5_000)},
            )
            assert large.status_code == 413
            for parts, field in (
                ({"request": (None, "{}")}, "list"),
                ({"list": ("l.txt", b"1")}, None),
                ({"list": ("l.txt", b"1"), "request": (None, '{"x": 1}')}, "batch_id"),
            ):
                answer = await client.post("/v1/batches/upload", files=parts)
                assert answer.status_code == 422, answer.text
                assert answer.json()["field"] == field
            other = await client.post("/v1/batches/upload", content=b"13800000001")
            assert other.status_code == 422


async def test_who_may_not_submit_cannot_make_us_read_a_large_body(staff):
    was_read = 0

    async def endless():
        nonlocal was_read
        for _ in range(1_000):
            was_read += 1
            yield b"x" * 65_536

    answer = await staff.clients["checker"].post(
        "/v1/batches/upload",
        content=endless(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 403
    assert was_read < 1_000


# ---------------------------------------------------------------- messages, opt-outs


async def test_a_message_is_found_and_explained(staff):
    shown = await submitted(staff)
    found = await staff.clients["operator"].get(
        "/v1/messages", params={"batch_id": shown["batch_id"], "number": "138 0000 0003"}
    )
    (one,) = found.json()["items"]
    assert one["to"] == "+8613800000003"
    story = await staff.ask("operator", "GET", f"/v1/messages/{one['message_id']}/explain")
    assert story.json()["message"] == one
    assert story.json()["moments"][0]["policy"] == "SMS-01"
    for message_id in ("0", "-1", str(2**64), "x"):
        answer = await staff.ask("operator", "GET", f"/v1/messages/{message_id}/explain")
        assert answer.status_code == 422


async def test_an_opt_out_is_kept_shown_masked_and_taken_back(staff):
    operator, system = staff.clients["operator"], staff.clients["system"]
    added = await operator.post("/v1/opt-outs", json={"number": "13800000002"})
    assert added.status_code == 201
    assert added.json()["number"] == "+8613800000002"
    masked = await system.get("/v1/opt-outs")
    assert masked.json()["items"][0]["number"] == "+86138****0002"
    shown = await submitted(staff)
    assert shown["n_removed"] == 1
    wrong = await operator.post("/v1/opt-outs", json={"number": "abc"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "number")
    back = {"number": "13800000002", "reason": "the customer asked"}
    assert (await operator.post("/v1/opt-outs/remove", json=back)).status_code == 204
    assert (await operator.post("/v1/opt-outs/remove", json=back)).status_code == 404


async def test_a_doubt_that_is_none_is_a_conflict(staff):
    assert (await staff.ask("operator", "GET", "/v1/doubt")).json()["items"] == []
    answer = await staff.ask("operator", "POST", "/v1/doubt/resend", segment_ids=[1], reason="test")
    assert answer.status_code == 409
