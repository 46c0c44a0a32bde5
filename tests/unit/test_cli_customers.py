"""The register of customers from the shell, against the real API."""

import json
from pathlib import Path

import pytest

from tests.support.apis import open_api, serving
from tests.support.commands import ask

ONE, TWO = "13800000001", "13800000002"


@pytest.fixture
async def keeper(tmp_path: Path):
    async with open_api(tmp_path) as bench, serving(bench):
        (tmp_path / "key").write_text(
            await bench.token_of("customer_keeper", department="sales"), encoding="ascii"
        )

        async def call(*arguments: str | Path):
            return await ask(
                "--socket", bench.settings.unix_socket, "--key-file", tmp_path / "key",
                "customer", *arguments,
            )  # fmt: skip

        yield call


async def good(keeper, *arguments: str | Path) -> str:
    done = await keeper(*arguments)
    assert done.status == 0, done
    return done.out


async def test_a_register_is_kept_from_the_shell(keeper, tmp_path: Path) -> None:
    people, own = tmp_path / "people.csv", ("--department", "sales")
    people.write_text(f"手机号,姓名\n{ONE},王芳\n{TWO},李雷\n12,nobody\n", encoding="gbk")
    lists = ("import", people, *own, "--source", "core bank")
    assert "2 would be added, 0 known before" in await good(keeper, *lists, "--trial")
    assert "no department keeps a register" in (await keeper("count")).err
    told = await good(keeper, *lists)
    assert "2 added, 0 known before" in told
    assert "1 lines left out" in told
    shown = json.loads(await good(keeper, "count", "--json"))
    assert (shown["is_enforced"], shown["registers"][0]["n"]) == (False, 2)
    assert "core bank" in await good(keeper, "count", *own)
    assert "core bank" in await good(keeper, "check", ONE, *own)
    await good(keeper, "remove", ONE, *own, "--reason", "account closed")
    gone = await keeper("remove", ONE, *own, "--reason", "account closed")
    assert (gone.status, "no customer of this department" in gone.err) == (1, True)
    assert json.loads(await good(keeper, "check", ONE, *own, "--json"))["is_customer"] is False
    await good(keeper, "add", ONE, *own, "--source", "form 31")
    assert json.loads(await good(keeper, "check", ONE, *own, "--json"))["source"] == "form 31"
    other = await keeper("count", "--department", "loans")
    assert (other.status, "SEC-01" in other.err) == (1, True)
