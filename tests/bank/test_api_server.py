"""The server on its real sockets: who the peer is, streams that resume and end, clean stops."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx2
import pytest

from api.server import listen, serve
from api.streams import ndjson
from modemctl.config import ApiSettings
from modemctl.errors import ConfigError, StoreError
from modemctl.model import EventKind
from tests.support.apis import ApiBench, free_port, open_api, serving


@pytest.fixture
async def bench(tmp_path):
    peers = {os.getuid(): "root"}
    async with open_api(tmp_path, peers=peers, tcp_port=free_port()) as opened:
        yield opened


async def test_a_unix_peer_acts_as_its_account_and_a_tcp_one_does_not(bench):
    async with serving(bench), bench.unix_client() as unix, bench.tcp_client() as tcp:
        mine = (await unix.get("/v1/whoami")).json()
        assert mine["name"] == "root"
        assert mine["source"] == f"unix:uid={os.getuid()}"
        assert (await tcp.get("/v1/whoami")).status_code == 401
        by_key = await tcp.get(
            "/v1/whoami", headers={"Authorization": f"Bearer {bench.admin_token}"}
        )
        assert by_key.json()["source"] == "tcp:127.0.0.1"


async def test_a_wrong_key_is_not_saved_by_the_peer(bench):
    async with serving(bench), bench.unix_client("mk_wrong") as unix:
        assert (await unix.get("/v1/whoami")).status_code == 401


async def test_nobody_forges_the_peer_by_headers(bench):
    forged = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=unix", "Peer-Uid": "0"}
    async with serving(bench), bench.tcp_client() as tcp:
        assert (await tcp.get("/v1/whoami", headers=forged)).status_code == 401
        answer = await tcp.get(
            "/v1/whoami", headers=forged | {"Authorization": f"Bearer {bench.admin_token}"}
        )
        assert answer.json()["source"] == "tcp:127.0.0.1"


_AS_OTHER_USER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b"GET /v1/whoami HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
data = b""
while part := s.recv(65536): data += part
sys.stdout.buffer.write(data)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
async def test_the_kernel_says_which_user_is_at_the_other_end():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)  # another user may go through
        async with open_api(folder, peers={0: "root", 65534: "visitor"}) as bench:
            await bench.services.accounts.create(
                bench.admin, name="visitor", kind="person", department="hall", roles=["monitor"]
            )
            async with serving(bench):
                bench.settings.unix_socket.chmod(0o666)
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", _AS_OTHER_USER, str(bench.settings.unix_socket),
                    stdout=subprocess.PIPE,
                )  # fmt: skip
                answer, _ = await child.communicate()
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (body["name"], body["source"]) == ("visitor", "unix:uid=65534")


async def test_the_socket_is_for_owner_and_group_and_gone_after_the_stop(bench):
    path = bench.settings.unix_socket
    async with serving(bench):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_a_stale_socket_is_replaced_and_a_living_one_is_not(tmp_path):
    path = tmp_path / "api.sock"
    settings = ApiSettings(unix_socket=path, tcp_port=0)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    (living,) = listen(settings)
    living.listen()
    with pytest.raises(ConfigError, match="another program serves"):
        listen(settings)
    living.close()


async def test_a_file_in_the_way_is_not_removed(tmp_path):
    path = tmp_path / "api.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="cannot listen"):
        listen(ApiSettings(unix_socket=path, tcp_port=0))
    assert path.read_text() == "precious"


async def test_a_taken_port_and_a_missing_folder_are_said_with_their_cure(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ApiSettings(unix_socket=tmp_path / "s", tcp_port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"api\.tcp_port"):
            listen(settings)
    assert not (tmp_path / "s").exists()
    with pytest.raises(ConfigError, match=r"api\.unix_socket"):
        listen(ApiSettings(unix_socket=tmp_path / "no" / "s", tcp_port=0))


async def test_listening_sockets_name_their_protocol_so_that_nagle_is_off(bench):
    sockets = listen(bench.settings)
    try:
        assert [(one.family, one.proto) for one in sockets] == [
            (socket.AF_UNIX, 0), (socket.AF_INET, socket.IPPROTO_TCP),
        ]  # fmt: skip
    finally:
        for one in sockets:
            one.close()
        bench.settings.unix_socket.unlink()


async def test_serving_leaves_the_processes_signal_handlers_alone(bench):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    async with serving(bench):
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


# ---------------------------------------------------------------- server-sent events


async def happen(bench: ApiBench, *subjects: str) -> None:
    for subject in subjects:
        await bench.store.write(
            lambda tx, subject=subject: tx.event(EventKind.MODEM, subject, {"state": "ready"})
        )


async def blocks(answer: httpx2.Response):
    """Server-sent events as a browser reads them: (id, event, data)."""
    found: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            found["comment"] = line
        elif line:
            name, _, value = line.partition(": ")
            found[name] = value
        else:
            yield found
            found = {}


async def test_a_stream_resumes_behind_the_last_event_id_without_gap_or_repeat(bench):
    async with serving(bench), bench.unix_client() as client, asyncio.timeout(30):
        seen: list[str] = []
        last_id = None
        for part in range(3):
            headers = {} if last_id is None else {"Last-Event-ID": last_id}
            async with client.stream("GET", "/v1/events/stream", headers=headers) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                stream = blocks(answer)
                first = await anext(stream)
                assert "data" not in first
                await happen(bench, f"{part}-a", f"{part}-b", f"{part}-c")
                while not seen or seen[-1] != f"{part}-b":
                    block = await anext(stream)
                    assert block["event"] == "modem"
                    seen.append(json.loads(block["data"])["subject"])
                    last_id = block["id"]
            # c was written but not read: the next stream begins with it
        assert seen == ["0-a", "0-b", "0-c", "1-a", "1-b", "1-c", "2-a", "2-b"]


async def test_an_old_cursor_gets_a_reset(bench):
    await happen(bench, "a", "b", "c")
    cursor = (await bench.services.events.page(bench.admin, cursor=None, limit=1)).next
    bench.clock.advance(8 * 86_400)
    await happen(bench, "d")
    await bench.services.events.purge()
    async with serving(bench), bench.unix_client() as client, asyncio.timeout(30):
        headers = {"Last-Event-ID": cursor}
        async with client.stream("GET", "/v1/events/stream", headers=headers) as answer:
            stream = blocks(answer)
            await anext(stream)
            reset = await anext(stream)
            assert reset["event"] == "reset"
            assert json.loads(reset["data"])["kind"] == "reset"
            assert json.loads((await anext(stream))["data"])["subject"] == "d"
        wrong = await client.get("/v1/events/stream", headers={"Last-Event-ID": "x"})
        assert wrong.status_code == 422


async def test_streams_end_cleanly_and_at_once_when_the_server_stops(bench):
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        open_streams = asyncio.Semaphore(0)

        async def read_to_the_end() -> None:
            async with (
                bench.unix_client() as client,
                client.stream("GET", "/v1/events/stream") as answer,
            ):
                async for _ in blocks(answer):
                    open_streams.release()

        async with serving(bench) as stop:
            readers = [group.create_task(read_to_the_end()) for _ in range(3)]
            for _ in readers:
                await open_streams.acquire()
            stopped_at = loop.time()
            stop.set()
        assert loop.time() - stopped_at < 1.5


async def test_a_reader_that_leaves_is_forgotten(bench):
    subscribers = bench.store.signals._subscribers["events"]
    async with serving(bench), bench.unix_client() as client, asyncio.timeout(30):
        async with client.stream("GET", "/v1/events/stream") as answer:
            await anext(blocks(answer))
            assert len(subscribers) == 1
        while subscribers:
            await happen(bench, "x")


async def test_silence_is_broken_by_a_comment_that_moves_the_cursor(bench, monkeypatch):
    monkeypatch.setattr("modemctl.service.events.KEEP_ALIVE", 0.05)
    async with (
        asyncio.timeout(30),
        serving(bench),
        bench.unix_client() as client,
        client.stream("GET", "/v1/events/stream", params={"kind": "call"}) as answer,
    ):
        stream = blocks(answer)
        first = await anext(stream)
        await happen(bench, "not a call")
        while (block := await anext(stream))["id"] == first["id"]:
            assert "data" not in block
        assert block["comment"] == ": still here"
        assert "data" not in block


async def test_a_stream_of_lines_that_fails_midway_is_seen_to_be_broken(bench, caplog):
    async def lines():
        for n in range(20_000):
            yield {"n": n, "filler": "x" * 50}
        raise StoreError("the database refused")

    @bench.app.get("/broken")
    async def broken():
        return await ndjson(lines())

    n_lines = 0

    async def read_all(client: httpx2.AsyncClient) -> None:
        nonlocal n_lines
        async with client.stream("GET", "/broken") as answer:
            async for _ in answer.aiter_lines():
                n_lines += 1

    async with serving(bench), bench.unix_client() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await read_all(client)
    assert 0 < n_lines < 20_000
    assert "api.failed" in caplog.text


async def test_a_request_that_hangs_is_cut_after_two_seconds(bench):
    entered = asyncio.Event()

    @bench.app.get("/hang")
    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        async with serving(bench) as stop, bench.unix_client() as client:

            async def ask() -> None:
                with pytest.raises(httpx2.TransportError):
                    await client.get("/hang")

            group.create_task(ask())
            await entered.wait()
            began = loop.time()
            stop.set()
        assert loop.time() - began < 4


async def test_a_server_without_an_address_fails_before_it_serves(tmp_path):
    async with open_api(tmp_path) as bench:
        settings = ApiSettings(unix_socket=Path("/proc/none/api.sock"), tcp_port=0)
        with pytest.raises(ConfigError):
            await serve(bench.app, settings, stop=asyncio.Event())
