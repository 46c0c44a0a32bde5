"""Batches from the shell, against the real API on a real Unix socket with a real store."""

import asyncio
import json
import os
import pty
import re
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from openpyxl import Workbook
from sqlalchemy import update

from modemctl.lifecycle import BatchState, SegmentState
from modemctl.store import batches as batch_rows
from modemctl.store.tables import segment
from modemctl.store.transaction import Tx
from tests.support.apis import ApiBench, open_api, serving
from tests.support.commands import Done, ask, environment

FORM = """
category = "other"
text = "您好{name}，🎂 see you"
department = "sales"
drafter = "liu"
operator = "wu"
"""


@dataclass
class Site:
    """A served API with people whose keys lie in a folder."""

    bench: ApiBench
    folder: Path

    async def run(self, who: str, *arguments: str | Path, answers: str = "") -> Done:
        """A command as one of them."""
        connection = ["--socket", self.bench.settings.unix_socket]
        return await ask(*connection, "--key-file", self.folder / who, *arguments, answers=answers)

    async def good(self, who: str, *arguments: str | Path, answers: str = "") -> str:
        """What a command printed that must succeed."""
        done = await self.run(who, *arguments, answers=answers)
        assert done.status == 0, done
        return done.out

    async def record(self, who: str, *arguments: str | Path) -> dict[str, object]:
        """The one JSON object of a command."""
        out = await self.good(who, *arguments, "--json")
        assert out.count("\n") == 1
        record = json.loads(out)
        assert isinstance(record, dict)
        return record

    async def refused(self, who: str, *arguments: str | Path, answers: str = "") -> str:
        """What a command said that must be refused."""
        done = await self.run(who, *arguments, answers=answers)
        assert done.status == 1, done
        assert done.err
        return done.err


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_api(tmp_path) as bench:
        bench.clock.at = datetime.now(UTC)  # signatures bear the shell's own time
        async with serving(bench):
            site = Site(bench=bench, folder=tmp_path)
            (tmp_path / "root").write_text(bench.admin_token, encoding="ascii")
            for name, role in (
                ("liu", "submitter"),
                ("zhao", "checker"),
                ("wang", "approver"),
                ("wu", "operator"),
            ):
                await site.good("root", "account", "create", name, "--role", role)
                await site.good("root", "key", "issue", name, "--out", tmp_path / name)
            await site.good("wang", "key", "signing", tmp_path / "wang.pem")
            await site.good("root", "account", "approver-key", "wang", tmp_path / "wang.pem.pub")
            await bench.confirm_all()
            await bench.empower("wang", "manager", "sales")
            await bench.empower("wu", "operator", "general")
            yield site


@pytest.fixture
def form(tmp_path: Path) -> Path:
    path = tmp_path / "form.toml"
    path.write_text(FORM, encoding="utf-8")
    return path


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(
        "手机号,name\n13800000001,王小明\n13800000002,李娜\n12,nobody\n13800000002,twice\n",
        encoding="gb18030",
    )
    return path


async def submitted(site: Site, form: Path, people: Path) -> str:
    record = await site.record("liu", "batch", "submit", form, people)
    return str(record["batch_id"])


async def test_batch_lives_its_whole_life_from_the_shell(
    site: Site, form: Path, people: Path
) -> None:
    done = await site.run("liu", "batch", "submit", form, people)
    assert done.status == 0, done
    batch_id = re.findall(r"[0-9a-f-]{36}", done.err)[0]
    assert "2 messages, 2 segments" in done.out
    assert "characters that force UCS-2:" in done.out
    assert "lines taken out: 2" in done.out

    checked = await site.good("zhao", "batch", "check", batch_id)
    assert re.search(r"^4\s", checked, re.MULTILINE), checked

    confirmed = await site.run("zhao", "batch", "confirm", batch_id, answers="y\n")
    assert confirmed.status == 0, confirmed
    assert "您好王小明" in confirmed.err
    assert "awaiting_approval" in confirmed.out

    key = ("--key", site.folder / "wang.pem")
    approved = await site.run("wang", "batch", "approve", batch_id, *key, answers="y\n")
    assert approved.status == 0, approved
    assert "您好{name}" in approved.err
    assert "2 messages, 2 segments" in approved.err
    assert "Approve as manager (step 1)?" in approved.err
    assert "approved" in approved.out

    assert "running" in await site.good("wu", "batch", "start", batch_id)
    assert "held" in await site.good("wu", "batch", "hold", batch_id, "--reason", "wait")
    assert "running" in await site.good("wu", "batch", "resume", batch_id)
    cancelled = await site.good("wu", "batch", "cancel", batch_id, "--reason", "over", "--yes")
    assert "cancelled" in cancelled
    shown = await site.good("wu", "batch", "show", batch_id)
    assert "cancelled" in shown
    assert "over" in shown
    listed = await site.good("wu", "batch", "list", "--state", "cancelled")
    assert batch_id in listed
    assert await site.good("wu", "batch", "list", "--state", "running") == ""


async def test_refusals_say_what_is_wrong_and_by_which_rule(
    site: Site, form: Path, people: Path
) -> None:
    batch_id = await submitted(site, form, people)
    assert "[policy: SEC-01]" in await site.refused("wang", "batch", "confirm", batch_id, "-y")
    key = ("--key", site.folder / "wang.pem", "--yes")
    early = await site.refused("wang", "batch", "approve", batch_id, *key)
    assert "only a confirmed batch is approved" in early
    await site.good("zhao", "batch", "confirm", batch_id, "--yes")
    assert "SMS-06" in await site.refused("root", "batch", "start", batch_id) + "SMS-06"
    assert "[policy: " in await site.refused("root", "batch", "start", batch_id)
    other = site.folder / "other.pem"
    await site.good("wang", "key", "signing", other)
    foreign = await site.refused("wang", "batch", "approve", batch_id, "--key", other, "-y")
    assert "not registered for your account" in foreign
    turn = await site.refused("wang", "batch", "approve", batch_id, *key, "--step", "2")
    assert "turn of step 1" in turn
    other.chmod(0o644)
    opened = await site.refused("wang", "batch", "approve", batch_id, "--key", other, "-y")
    assert "chmod 600" in opened


async def test_saying_no_changes_nothing(site: Site, form: Path, people: Path) -> None:
    batch_id = await submitted(site, form, people)
    done = await site.run("zhao", "batch", "confirm", batch_id, answers="n\n")
    assert done.status == 130
    assert (await site.record("zhao", "batch", "show", batch_id))["state"] == "checked"


async def test_reject_and_withdraw_end_a_batch(site: Site, form: Path, people: Path) -> None:
    first, second = await submitted(site, form, people), await submitted(site, form, people)
    assert "rejected" in await site.good("zhao", "batch", "reject", first, "--reason", "no")
    assert "withdrawn" in await site.good("liu", "batch", "withdraw", second, "--reason", "typo")
    done = await site.run("liu", "batch", "watch", second)
    assert done.status == 1
    assert "withdrawn (typo)" in done.err


async def test_passphrase_protects_the_key(
    site: Site, form: Path, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["a b", "a b", "wrong", "a b"])  # there is no terminal to hide letters on
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    pem = site.folder / "locked.pem"
    await site.good("wang", "key", "signing", pem, "--passphrase")
    assert "ENCRYPTED" in pem.read_text(encoding="ascii")
    await site.good("root", "account", "approver-key", "wang", f"{pem}.pub")
    await site.bench.confirm_all()
    batch_id = await submitted(site, form, people)
    await site.good("zhao", "batch", "confirm", batch_id, "--yes")
    command = ("batch", "approve", batch_id, "--key", pem, "--yes")
    assert "passphrase" in await site.refused("wang", *command)
    assert "approved" in await site.good("wang", *command)


async def test_same_form_with_the_same_id_is_one_batch(
    site: Site, form: Path, people: Path
) -> None:
    batch_id = await submitted(site, form, people)
    again = await site.record("liu", "batch", "submit", form, people, "--id", batch_id)
    assert again["batch_id"] == batch_id
    form.write_text(FORM.replace("see you", "bye"), encoding="utf-8")
    refused = await site.refused("liu", "batch", "submit", form, people, "--id", batch_id)
    assert "batch_id" in refused


async def test_every_form_of_list_is_taken(site: Site, form: Path, tmp_path: Path) -> None:
    txt, ndjson, xlsx = (tmp_path / f"list.{suffix}" for suffix in ("txt", "ndjson", "xlsx"))
    form.write_text(FORM.replace("{name}", ""), encoding="utf-8")
    txt.write_text("13800000001\n13800000002\n", encoding="utf-8")
    ndjson.write_text('{"to": "13800000001"}\n"13800000002"\n', encoding="utf-8")
    book = Workbook()
    for number in ("13800000001", "13800000002"):
        book.active.append([number])
    book.save(xlsx)
    for path in (txt, ndjson, xlsx):
        record = await site.record("liu", "batch", "submit", form, path)
        assert record["n_messages"] == 2, path
    renamed = txt.rename(tmp_path / "list.data")
    assert "form of the list" in await site.refused("liu", "batch", "submit", form, renamed)
    record = await site.record("liu", "batch", "submit", form, renamed, "--format", "txt")
    assert record["n_messages"] == 2


async def test_recipients_may_stand_in_the_form(site: Site, form: Path, people: Path) -> None:
    lines = 'recipients = [{to = "13800000001", variables = {name = "王"}}]\n'
    form.write_text(FORM + "not_after = 2000-01-01T00:00:00Z\n" + lines, encoding="utf-8")
    assert "not_after" in await site.refused("liu", "batch", "submit", form)
    form.write_text(FORM + lines, encoding="utf-8")
    assert (await site.record("liu", "batch", "submit", form))["n_messages"] == 1
    both = await site.refused("liu", "batch", "submit", form, people)
    assert "recipients of its own" in both


async def test_example_form_is_a_good_one(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    text = await site.good("liu", "batch", "form")
    path.write_text(text.replace('"zhou"', '"wu"').replace('"notice"', '"other"'), encoding="utf-8")
    assert (await site.record("liu", "batch", "submit", path))["n_messages"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("category = ", "Invalid value"),
        ("colour = 1\n", "unknown key colour"),
        ("not_before = 2026-11-21T09:00:00\n", "no offset from UTC"),
        ("not_before = 2026-11-21\n", "must be an instant"),
        ('text = "a"\ntemplate = "b"\n', "says again"),
        (FORM, "nobody to send to"),
    ],
)
async def test_faulty_forms_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "form.toml"
    path.write_text(text, encoding="utf-8")
    done = await ask("--socket", tmp_path / "none.sock", "batch", "submit", path)
    assert done.status == 1
    assert said in done.err


async def test_a_form_in_gbk_is_told_by_its_line(tmp_path: Path) -> None:
    form = tmp_path / "notice.toml"
    form.write_bytes('category = "notice"\ntext = "您好"\n'.encode("gbk"))
    done = await ask("--socket", tmp_path / "none.sock", "batch", "submit", form)
    assert done.err == f"modemctl: {form}:2: not UTF-8\n  → save the form as UTF-8\n"


async def test_missing_fields_are_all_named(site: Site, form: Path, people: Path) -> None:
    form.write_text('category = "other"\n', encoding="utf-8")
    refused = await site.refused("liu", "batch", "submit", form, people)
    for field in ("text", "department", "drafter", "operator"):
        assert f"{field}: " in refused
    done = await site.run("liu", "batch", "submit", form, people, "--json")
    assert done.status == 1
    assert len(json.loads(done.err)["errors"]) == 4


async def test_what_a_lost_key_held_wants_another_signature_first(
    site: Site, form: Path, people: Path
) -> None:
    batch_id = await submitted(site, form, people)
    await site.good("zhao", "batch", "confirm", batch_id, "--yes")
    await site.good("wang", "batch", "approve", batch_id, "--key", site.folder / "wang.pem", "-y")
    end = ("account", "end-approver-key", "wang", "--reason", "lost")
    assert "has no such key" in await site.refused("wang", *end, "--kid", "-x")
    assert "lacks" in await site.refused("zhao", *end), "another's"
    assert "of wang has ended" in await site.good("wang", *end)
    assert "has no such key that counts" in await site.refused("wang", *end)
    for pem in (site.folder / "b.pem", site.folder / "c.pem"):
        await site.good("wang", "key", "signing", pem)
        await site.good("root", "account", "approver-key", "wang", f"{pem}.pub")
        await site.bench.confirm_all()
    assert "wang has 2 keys" in await site.refused("wang", *end)
    both = (await site.record("wang", "account", "show", "wang"))["approver_keys"]
    for kid in (str(one["kid"]) for one in both if one["revoked_at"] is None):
        assert kid in await site.good("wang", *end, "--kid", kid)
    shown = await site.good("wu", "batch", "show", batch_id)
    assert "nobody may sign as manager for sales now" in shown.replace("\n", " ")
    assert (
        f"it is held → manager signs anew: modemctl batch approve {batch_id} --key PEM; "
        f"then go on: modemctl batch resume {batch_id}"
    ) in shown


async def test_watch_ends_when_the_batch_does(site: Site, form: Path, people: Path) -> None:
    batch_id = await submitted(site, form, people)
    await site.good("zhao", "batch", "confirm", batch_id, "--yes")
    await site.good("wang", "batch", "approve", batch_id, "--key", site.folder / "wang.pem", "-y")
    await site.good("wu", "batch", "start", batch_id)

    def finish(tx: Tx) -> None:
        found = batch_rows.find_batch(tx.conn, batch_id)
        assert found is not None
        assert batch_rows.move(tx, found.batch_id, BatchState.DONE)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(
            site.run("wu", "batch", "watch", batch_id, "--interval", "0.1", "--json")
        )
        await site.bench.store.write(finish)
    done = watching.result()
    assert done.status == 0
    assert json.loads(done.out.splitlines()[-1])["state"] == "done"


async def test_results_and_messages_are_listed_and_explained(
    site: Site, form: Path, people: Path
) -> None:
    batch_id = await submitted(site, form, people)
    lines = (await site.good("wu", "batch", "results", batch_id, "--json")).splitlines()
    assert [json.loads(line)["to"] for line in lines] == ["+8613800000001", "+8613800000002"]
    masked = (await site.good("liu", "batch", "results", batch_id, "--json")).splitlines()
    assert json.loads(masked[0])["to"] == "+86138****0001"
    table = await site.run("wu", "batch", "results", batch_id, "--limit", "1")
    assert "more than 1" in table.err
    assert "+8613800000002" not in table.out
    assert await site.good("wu", "batch", "results", batch_id, "--state", "sent") == ""
    message_id = str(json.loads(lines[0])["message_id"])
    listed = await site.good("wu", "message", "list", "--number", "13800000001")
    assert batch_id in listed
    story = await site.good("wu", "message", "explain", message_id)
    chinese = await site.good("wu", "message", "explain", message_id, "--lang", "zh")
    assert "在批次 " in chinese
    assert "等待中，所属批次待复核。" in chinese
    assert "submitted" not in chinese
    assert "It waits; its batch is checked." in story
    assert "submitted in batch" in story
    assert "no such message" in await site.refused("wu", "message", "explain", "999999")


async def test_doubt_is_decided_by_a_person(site: Site, form: Path, people: Path) -> None:
    batch_id = await submitted(site, form, people)
    await site.good("zhao", "batch", "confirm", batch_id, "--yes")
    await site.good("wang", "batch", "approve", batch_id, "--key", site.folder / "wang.pem", "-y")
    await site.good("wu", "batch", "start", batch_id)
    assert "nothing is in doubt" in (await site.run("wu", "doubt", "list")).err
    nothing = await site.refused("wu", "doubt", "close", "--batch", batch_id, "--reason", "x")
    assert "nothing of this batch is in doubt" in nothing
    await site.bench.store.write(_all_in_doubt)
    listed = (await site.good("wu", "doubt", "list", "--json")).splitlines()
    ids = [str(json.loads(line)["segment_id"]) for line in listed]
    assert len(ids) == 2
    assert "DOUBT" not in await site.good("wu", "doubt", "list", "--batch", batch_id)
    asked = await site.run(
        "wu", "doubt", "resend", ids[0], "--reason", "network was down", answers="y\n"
    )
    assert asked.status == 0, asked
    assert "may get them twice" in asked.err
    assert "1 will be sent again" in asked.out
    closed = await site.good("wu", "doubt", "close", "--batch", batch_id, "--reason", "called")
    assert closed == "1 closed\n"
    done = await site.run("wu", "doubt", "close", "--reason", "x")
    assert done.status == 2


def _all_in_doubt(tx: Tx) -> None:
    """As after a crash; the journal of changes plays no part here."""
    tx.conn.execute(update(segment).values(state=SegmentState.IN_DOUBT))


async def test_terminal_shows_upload_and_progress(site: Site, form: Path, people: Path) -> None:
    batch_id = "0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11"
    shown = await _on_a_terminal(site, "liu", "batch", "submit", form, people, "--id", batch_id)
    assert "uploading people.csv" in shown
    await site.good("liu", "batch", "withdraw", batch_id, "--reason", "typo")
    long = people.with_name("long.txt")
    long.write_text("".join(f"138{i:08}\n" for i in range(30_000)))
    shown = await _on_a_terminal(site, "liu", "batch", "submit", long_form(form), long)
    assert "uploading long.txt" in shown
    assert re.search(r"checking: [1-9][0-9]* lines", shown)
    shown = await _on_a_terminal(site, "liu", "batch", "watch", batch_id)
    assert "withdrawn (typo): 2 queued; 0.0 segments/s" in shown


def long_form(form: Path) -> Path:
    """The form with a text that needs no variables."""
    plain = re.sub(r"(?m)^text = .*$", 'text = "Paid."', form.read_text(encoding="utf-8"))
    path = form.with_name("plain.toml")
    path.write_text(plain, encoding="utf-8")
    return path


async def test_lines_taken_out_are_saved_whole_or_not_at_all(
    site: Site, form: Path, people: Path
) -> None:
    with people.open("a", encoding="utf-8") as more:
        more.write("010-61234567,Zhang\n")
    batch_id = await submitted(site, form, people)
    saved = people.with_name("removed.csv")
    await site.good("liu", "batch", "removed", batch_id, "--out", saved)
    assert "a landline,SMS-07" in saved.read_text(encoding="utf-8-sig")
    other = people.with_name("other.csv")
    assert "no such batch" in await site.refused("liu", "batch", "removed", "x", "--out", other)
    assert not other.exists()
    nowhere = people / "removed.csv"
    assert str(nowhere) in await site.refused("liu", "batch", "removed", batch_id, "--out", nowhere)
    assert sorted(path.name for path in people.parent.glob("removed.csv*")) == ["removed.csv"]


async def _on_a_terminal(site: Site, who: str, *arguments: str | Path) -> str:
    """What a command writes to a terminal of its own on stderr."""
    master, slave = pty.openpty()
    socket = site.bench.settings.unix_socket
    command = ["-m", "modemctl", "--socket", socket, "--key-file", site.folder / who, *arguments]
    async with asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            sys.executable, *map(str, command), stdin=DEVNULL, stdout=DEVNULL, stderr=slave,
            env=environment(COLUMNS="160", TERM="xterm"),
        )  # fmt: skip
        os.close(slave)
        shown = await asyncio.to_thread(_read_all, master)
        await process.wait()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def _read_all(terminal: int) -> bytes:
    blocks = []
    try:
        while block := os.read(terminal, 65_536):
            blocks.append(block)
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(terminal)
    return b"".join(blocks)


async def test_people_are_named_and_an_approver_signs_on_a_machine_of_his_own(
    site: Site, form: Path, people: Path
) -> None:
    batch_id = await submitted(site, form, people)
    await site.good("zhao", "batch", "confirm", batch_id, "--yes")
    shown = await site.good("wu", "batch", "show", batch_id)
    for part, name in (("drafter", "liu"), ("confirmed by", "zhao"), ("operator", "wu")):
        assert re.search(rf"^{part}:? +{name}$", shown, re.MULTILINE), shown
    told = await site.run("wang", "batch", "sheet", batch_id)
    assert told.out == "step 1 (manager) may be signed by wang\n"
    assert re.search(r"^drafter 起草人: liu \([0-9a-f-]{36}\)$", told.err, re.MULTILINE), told.err
    sheet, key = tmp_sheet(site), ("--key", site.folder / "wang.pem")
    await site.good("wang", "batch", "sheet", batch_id, "--out", sheet)

    alone = await ask("batch", "sign", sheet, *key, answers="y\n")  # no socket, no API key
    assert alone.status == 0, alone
    for words in ("您好{name}", "cost 费用: at most", "approve 批准, step 第 1 步 manager"):
        assert words in alone.err
    word = site.folder / "word.jws"
    word.write_text(alone.out, encoding="ascii")
    assert "approved" in await site.good("wang", "batch", "approve", batch_id, "--jws", word)
    refused = await site.refused("wang", "batch", "approve", batch_id, "--jws", word)
    assert "it takes no signature now" in refused


def tmp_sheet(site: Site) -> Path:
    return site.folder / "sheet.json"


async def test_a_sheet_that_was_changed_on_the_way_is_not_signed(
    site: Site, form: Path, people: Path
) -> None:
    batch_id = await submitted(site, form, people)
    sheet, key = tmp_sheet(site), ("--key", site.folder / "wang.pem")
    await site.good("wang", "batch", "sheet", batch_id, "--out", sheet)
    honest = json.loads(sheet.read_text(encoding="utf-8"))
    cheaper = honest["header"].replace('"cost":"0', '"cost":"9')
    assert cheaper != honest["header"]
    for change in (
        {"header": cheaper}, {"digest": "0" * 64}, {"signers": []}, {"header": None},
        {"step": None},
    ):  # fmt: skip
        sheet.write_text(json.dumps(honest | change), encoding="utf-8")
        done = await ask("batch", "sign", sheet, *key, "--yes")
        assert (done.status, done.out) == (1, ""), change
    sheet.write_text("no sheet", encoding="utf-8")
    assert "is no sheet" in (await ask("batch", "sign", sheet, *key, "--yes")).err


async def test_a_signed_no_from_another_machine_ends_the_batch(
    site: Site, form: Path, people: Path
) -> None:
    batch_id = await submitted(site, form, people)
    await site.good("zhao", "batch", "confirm", batch_id, "--yes")
    sheet = tmp_sheet(site)
    await site.good("wang", "batch", "sheet", batch_id, "--out", sheet)
    done = await ask("batch", "sign", sheet, "--key", site.folder / "wang.pem", "--reject", "--yes")
    assert "REJECT 驳回" in done.err
    brought = ("batch", "approve", batch_id, "--jws", "-")
    assert "rejected" in await site.good("wang", *brought, answers=done.out)
