"""Webhooks from the shell, against the real API and a real receiver."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from modemctl.model import EventKind
from modemctl.policy.webhooks import HOLD_TRIES
from modemctl.service.webhook_line import Line, LineRules
from tests.support.apis import LOCAL_POST, open_api, serving
from tests.support.commands import ask
from tests.support.receivers import answering, receiver

RULES = LineRules(site="site", general_department="general", give_up=timedelta(hours=1))


@pytest.fixture
async def shell(tmp_path: Path):
    async with open_api(tmp_path) as bench, serving(bench):
        (tmp_path / "key").write_text(bench.admin_token, encoding="ascii")

        async def call(*arguments: str, status: int = 0) -> str:
            done = await ask(
                "--socket", bench.settings.unix_socket, "--key-file", tmp_path / "key",
                "webhook", *arguments,
            )  # fmt: skip
            assert done.status == status, done
            return done.out + done.err

        yield bench, call


async def turn(bench, n: int = 1) -> None:
    async with LOCAL_POST.open() as poster:
        line = Line(bench.store, "crm", rules=RULES, poster=poster, telemetry=bench.telemetry)
        for _ in range(n):
            await line.turn()


async def test_a_webhook_is_kept_from_the_shell(shell):
    bench, call = shell
    assert "no webhook is registered" in await call("list")
    async with receiver() as crm:
        told = await call("add", crm.url, "--events", "modem.*, alarm.*", "--name", "crm")
        secret = told.splitlines()[0]
        assert secret.startswith("whsec_")
        assert "shown this once" in told
        assert "the name is taken" in await call(
            "add", crm.url, "--events", "*", "--name", "crm", status=1
        )
        assert "the test event was taken: 204" in await call("test", "crm")
        one = crm.got[0]
        at = bench.clock.now()
        assert one.headers["webhook-signature"] == Webhook(secret).sign(
            one.id, at, one.body.decode()
        )
        crm.behave = answering(500, body=b"out of paper")
        assert "not taken: 500 out of paper" in await call("test", "crm", status=1)
        await bench.store.write(lambda tx: tx.event(EventKind.MODEM, "bay", {"state": "ready"}))
        await turn(bench)
        [waiting] = [
            json.loads(one)
            for one in (await call("deliveries", "crm", "--json")).split("\n")
            if one
        ]
        assert (waiting["type"], waiting["reason"]) == ("modem.ready", "500 out of paper")
        for _ in range(HOLD_TRIES):
            bench.clock.advance(3_700)
            await turn(bench)
        assert waiting["webhook_id"] in await call("dead", "crm", "--json")
        crm.behave = answering(200)
        await call("pause", "crm", "--reason", "it moves")
        assert "paused" in await call("list")
        await call("resume", "crm")
        assert "1 events are sent once more" in await call("replay", "crm", "--dead")
        await turn(bench, 2)
        assert crm.ids[-1] == waiting["webhook_id"]
        assert "none" in await call("dead", "crm")
        assert "1 events" in await call("replay", "crm", waiting["webhook_id"])
        assert "0 events" in await call("replay", "crm", "--since", "2027-01-01T00:00:00Z")
        assert "is no id of an event" in await call("replay", "crm", "bay", status=1)
        await call("replay", "crm", status=2)
        new = await call("rotate-secret", "crm", "--overlap-hours", "0")
        assert new.splitlines()[0] != secret
        listed = json.loads(await call("list", "--json"))
        assert listed["n_delivered"] == 1
        assert secret not in json.dumps(listed)
        await call("remove", "crm")
        assert "no such webhook" in await call("pause", "crm", "--reason", "x", status=1)
