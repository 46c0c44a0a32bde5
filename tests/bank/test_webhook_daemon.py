"""The daemon is killed with an event on its way, and goes on where it was."""

import asyncio
import json
from functools import partial

import httpx2

from modemctl.service.accounts import bootstrap
from tests.support.banks import DaemonProcess, Site, accepts
from tests.support.receivers import answering, receiver, silent


async def test_what_was_on_its_way_at_a_kill_arrives_under_the_same_id(tmp_path):
    site = await asyncio.to_thread(
        Site,
        tmp_path / "site",
        str(tmp_path / "no-ports" / "*"),
        webhooks__allow='["127.0.0.0/8"]',
        webhooks__plain_http="true",
    )
    token = (await asyncio.to_thread(site.write, lambda tx: bootstrap(tx, name="root"))).token
    async with receiver(silent) as crm:
        with DaemonProcess(site) as daemon:
            await asyncio.to_thread(daemon.wait_recovered)
            async with client(site, token) as http:
                await asyncio.to_thread(
                    daemon.wait_until, partial(accepts, site.socket), what="API"
                )
                made = {"name": "crm", "url": crm.url, "events": ["alarm.*"]}
                assert (await http.post("/v1/webhooks", json=made)).status_code == 201
                await stop(http, "sales")
                [sent] = await crm.wait(1)
            daemon.kill()
            crm.behave = answering(204)
            daemon.start()
            again = (await crm.wait(2))[1]
            assert (again.id, again.body) == (sent.id, sent.body)
            await asyncio.to_thread(
                daemon.wait_until, lambda: n_delivered(site) == 1, what="the delivery on record"
            )
            crm.behave = silent
            async with client(site, token) as http:
                await asyncio.to_thread(
                    daemon.wait_until, partial(accepts, site.socket), what="API"
                )
                await stop(http, "loans")
                await crm.wait(3)
            assert json.loads(again.body)["data"]["alarm"]
            # and one that is on its way does not keep the daemon from its end


def client(site: Site, token: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=str(site.socket), retries=5),
        base_url="http://modemctl",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )


async def stop(http: httpx2.AsyncClient, department: str) -> None:
    body = {"kind": "department", "target": department, "reason": "wrong text"}
    answer = await http.post("/v1/stops", json=body)
    assert answer.status_code == 201, answer.text


def n_delivered(site: Site) -> int:
    ((n,),) = site.query("SELECT n_delivered FROM webhook_place")
    return n
