"""Accounts, keys, audit, events, opt-outs from the shell, against the real API."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from modemctl.model import EventKind, Iccid
from modemctl.store import elevations, sims
from tests.support.apis import ApiBench, open_api, serving
from tests.support.commands import Done, ask, environment


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ApiBench]:
    async with open_api(tmp_path, peers={os.getuid(): "root"}) as bench, serving(bench):
        yield bench


async def run(bench: ApiBench, *arguments: str | Path) -> Done:
    """A command as the user that this process is: the administrator."""
    return await ask("--socket", bench.settings.unix_socket, *arguments)


async def good(bench: ApiBench, *arguments: str | Path) -> str:
    done = await run(bench, *arguments)
    assert done.status == 0, done
    return done.out


async def test_account_is_made_shown_frozen_and_revoked(bench: ApiBench) -> None:
    made = await good(bench, "account", "create", "wang", "--role", "approver", "--role", "checker")
    assert "modemctl key issue wang" in made
    assert "wang" in await good(bench, "account", "list")
    shown = json.loads(await good(bench, "account", "show", "wang", "--json"))
    assert shown["roles"] == ["approver", "checker"]
    assert (await good(bench, "account", "show", shown["account_id"])).count("wang") == 1
    assert "frozen" in await good(bench, "account", "freeze", "wang", "--reason", "away")
    asked = await good(bench, "account", "unfreeze", "wang", "--reason", "back")
    assert "another administrator now: modemctl request confirm" in asked
    await bench.confirm_all()
    assert "active" in await good(bench, "account", "show", "wang")
    assert "revoked" in await good(bench, "account", "revoke", "wang", "--reason", "left")
    again = await run(bench, "account", "unfreeze", "wang", "--reason", "please")
    assert again.status == 1
    assert "is revoked" in again.err


async def test_unknown_account_and_role_are_refused(bench: ApiBench) -> None:
    nobody = await run(bench, "account", "show", "nobody")
    assert nobody.status == 1
    assert "no account is named nobody" in nobody.err
    king = await run(bench, "account", "create", "li", "--role", "king")
    assert "roles: no such role (got king)" in king.err
    assert "choose from" in king.err


async def test_octets_that_are_no_text_are_refused_before_the_daemon_is_asked(
    bench: ApiBench,
) -> None:
    odd = await run(bench, "account", "create", "li\udcff", "--role", "monitor")
    assert odd.status == 1
    assert "no text in this locale" in odd.err
    assert "→ write it in UTF-8" in odd.err


async def test_keys_are_issued_listed_and_revoked(bench: ApiBench, tmp_path: Path) -> None:
    await good(bench, "account", "create", "li", "--role", "monitor")
    key = tmp_path / "li.key"
    assert "written to" in await good(bench, "key", "issue", "li", "--out", key)
    token = (await good(bench, "key", "issue", "li")).strip()
    assert token.startswith("mk_")
    third = tmp_path / "third.key"
    done = await run(bench, "key", "issue", "li", "--out", third)
    assert "[policy: SEC-02]" in done.err
    assert not third.exists(), "an empty key file was left behind"
    listed = (await good(bench, "key", "list", "li", "--json")).splitlines()
    assert len(listed) == 2
    assert token not in "".join(listed)
    own = await run(bench, "--key-file", key, "key", "list", "li")
    assert own.status == 0
    key_id = json.loads(listed[0])["key_id"]
    await good(bench, "key", "revoke", key_id, "--reason", "old")
    assert "2" not in (await good(bench, "key", "issue", "li"))[:2]


async def test_who_signs_for_an_operator_hears_who_files_it(
    bench: ApiBench, tmp_path: Path
) -> None:
    await good(bench, "account", "create", "wang", "--role", "approver")
    await good(bench, "key", "issue", "wang", "--out", tmp_path / "wang")
    sun = tmp_path / "sun"  # whose key another administrator issued
    sun.write_text(await bench.token_of("approver", by=await bench.second()))
    sun.chmod(0o600)
    what = ("--department", "sales", "--days", "30", "--reference", "form 1")
    await good(bench, "account", "authorise", "wang", "department_manager", *what)
    await good(bench, "account", "authorise", "approver-all", "manager_in_charge", *what)
    await bench.confirm_all()
    await good(bench, "account", "create", "zhou", "--role", "operator")
    form = (
        "zhou",
        "--department",
        "sales",
        "--days",
        "9",
        "--reference",
        "F",
        "--undertaking",
        "1",
    )
    asked = await good(bench, "--key-file", tmp_path / "wang", "operator", "apply", *form)
    number = asked.split()[-1]
    told = await good(bench, "--key-file", sun, "request", "confirm", number)
    assert f"modemctl operator file {number}" in told


async def test_approver_key_and_authorisations(bench: ApiBench, tmp_path: Path) -> None:
    await good(bench, "account", "create", "wang", "--role", "approver")
    await good(bench, "key", "signing", tmp_path / "w.pem")
    registered = await good(bench, "account", "approver-key", "wang", tmp_path / "w.pem.pub")
    assert "another administrator now: modemctl request confirm" in registered
    await bench.confirm_all()
    private = await run(bench, "account", "approver-key", "wang", tmp_path / "w.pem")
    assert "no public Ed25519 key" in private.err
    missing = await run(bench, "account", "approver-key", "wang", tmp_path / "none")
    assert "No such file" in missing.err
    what = ("--department", "sales", "--days", "30", "--reference", "form 1")
    await good(bench, "account", "authorise", "wang", "manager", *what)
    await bench.confirm_all()
    wrong = await run(bench, "account", "authorise", "wang", "pope", *what)
    assert "kind: " in wrong.err
    shown = json.loads(await good(bench, "account", "show", "wang", "--json"))
    assert len(shown["approver_keys"]) == 1
    number = shown["authorisations"][0]["authorisation_id"]
    await good(bench, "account", "unauthorise", str(number), "--reason", "moved")
    assert "manager" in await good(bench, "account", "show", "wang")


async def test_audit_is_listed_and_verified(bench: ApiBench, tmp_path: Path) -> None:
    denied = await run(bench, "audit", "list")
    assert "lacks audit:read" in denied.err
    await good(bench, "account", "create", "chen", "--role", "auditor")
    await good(bench, "key", "issue", "chen", "--out", tmp_path / "chen")
    as_chen = ("--key-file", tmp_path / "chen")
    listed = (await good(bench, *as_chen, "audit", "list", "--json")).splitlines()
    assert json.loads(listed[0])["action"] == "key.issue"
    assert len((await good(bench, *as_chen, "audit", "list", "--limit", "1")).splitlines()) == 2
    assert ": whole; " in await good(bench, *as_chen, "audit", "verify")


async def test_events_are_listed_and_ended_by_the_daemon(tmp_path: Path) -> None:
    async with open_api(tmp_path, peers={os.getuid(): "root"}) as bench, serving(bench) as stop:
        for n in range(3):
            await bench.store.write(
                lambda tx, n=n: tx.event(
                    EventKind.MODEM,
                    f"bay-{n}",
                    {"state": "ready", "event": "", "reason": "at home", "segments": {"leased": 4}},
                )
            )
        out = await good(bench, "events", "--kind", "modem", "--limit", "2")
        assert [line.split()[3] for line in out.splitlines()] == ["bay-1", "bay-2"]
        assert out.endswith('reason="at home" segments=leased:4 state=ready\n')
        last = json.loads((await good(bench, "events", "--json")).splitlines()[-1])
        assert await good(bench, "events", "--after", last["cursor"]) == ""
        assert "cursor" in (await run(bench, "events", "--after", "?")).err
        socket = str(bench.settings.unix_socket)
        command = ["-m", "modemctl", "--socket", socket, "events", "--follow", "--limit", "1"]
        async with asyncio.timeout(60):
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdout=PIPE, stderr=PIPE, env=environment()
            )
            assert process.stdout is not None
            assert b"bay-2" in await process.stdout.readline()
            await bench.store.write(lambda tx: tx.event(EventKind.ALARM, "bay-9", {"a": 1}))
            assert b"bay-9" in await process.stdout.readline()
            stop.set()
            out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"go on with --after" in err
    assert b"Traceback" not in err


async def test_ctrl_c_ends_a_command_quietly(bench: ApiBench) -> None:
    socket = str(bench.settings.unix_socket)
    await bench.store.write(lambda tx: tx.event(EventKind.ALARM, "bay-9", {"a": 1}))
    async with asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "modemctl", "--socket", socket, "events", "--follow",
            stdout=PIPE, stderr=PIPE, env=environment(),
        )  # fmt: skip
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err


async def test_status_is_ready_and_counts(bench: ApiBench) -> None:
    record = json.loads(await good(bench, "status", "--json"))
    assert record["is_ready"] is True
    assert record["batches"] == {}
    assert record["in_doubt"] == 0
    text = await good(bench, "status")
    assert text.startswith("ready\n")
    assert "store_write: ok" in text
    assert "INCIDENT" not in text
    await good(bench, "incident", "open", "--level", "3", "名单错误")
    record = json.loads(await good(bench, "status", "--json"))
    assert [one["title"] for one in record["incidents"]] == ["名单错误"]
    assert "INCIDENT: level 3, 名单错误; " in await good(bench, "status")


async def test_a_corrected_number_is_told_as_such(bench: ApiBench) -> None:
    card = Iccid("89860012345678901234")
    await bench.store.write(lambda tx: sims.add(tx, [sims.NewCard(iccid=card)]))
    said = await good(bench, "sims", "number", card, "13800000001", "--reason", "typo")
    assert said == f"card {card} has its new number\n"


async def test_elevations_name_their_persons(bench: ApiBench) -> None:
    await good(bench, "account", "create", "ma", "--role", "operator")
    made = json.loads(await good(bench, "account", "show", "ma", "--json"))
    account_id, until = made["account_id"], bench.clock.now() + timedelta(hours=8)
    await bench.store.write(
        lambda tx: (
            elevations.add(
                tx, account_id=account_id, roles=["monitor"], valid_until=until, request_id="r"
            )
            and None
        )
    )
    said = await good(bench, "elevation", "list")
    assert " ma " in said
    assert account_id not in said


async def test_opt_outs_come_and_go(bench: ApiBench, tmp_path: Path) -> None:
    await good(bench, "account", "create", "zhou", "--role", "operator")
    await good(bench, "key", "issue", "zhou", "--out", tmp_path / "zhou")
    as_zhou = ("--key-file", tmp_path / "zhou", "opt-outs")
    assert (await run(bench, *as_zhou, "list")).err == "no number is on the list\n"
    assert "+8613800000001" in await good(bench, *as_zhou, "add", "138 0000 0001")
    assert "+8613800000001" in await good(bench, *as_zhou, "list")
    assert "+86138****0001" in await good(bench, "opt-outs", "list")
    wrong = await run(bench, *as_zhou, "add", "12")
    assert "number: " in wrong.err
    await good(bench, *as_zhou, "remove", "13800000001", "--reason", "letter")
    assert await good(bench, *as_zhou, "list") == ""
    gone = await run(bench, *as_zhou, "remove", "13800000001", "--reason", "letter")
    assert "is not on the opt-out list" in gone.err


async def test_socket_of_others_is_denied(bench: ApiBench) -> None:
    socket = bench.settings.unix_socket
    socket.chmod(0)
    code = (
        "import os, sys, httpx2, modemctl.cli.overview; from modemctl.cli import main;"
        "httpx2.HTTPTransport(uds='x', verify=False);"
        "os.getuid() or os.setuid(65534);"  # the file's mode does not stop root
        f"sys.argv = ['modemctl', '--socket', {str(socket)!r}, 'status']; main()"
    )
    for folder in socket.parents:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    async with asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stderr=PIPE, env=environment()
        )
        _, err = await process.communicate()
    assert process.returncode == 1, err
    assert f"this user may not use {socket}" in err.decode()
    assert "join the socket's group" in err.decode()
