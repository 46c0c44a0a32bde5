"""The page about PostgreSQL, typed against a real server: the database, a move, the settings."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.commands import call

PAGE = Path(__file__).parents[2] / "docs" / "postgresql.md"
ADDRESS = re.compile(r"postgresql\+psycopg://modemctl@db\.example(?::5432)?/modemctl\?[^'\"\s]*")


@pytest.mark.timeout(120)
def test_a_site_moves_by_the_commands_of_the_page_into_the_database_that_it_makes(tmp_path):
    cluster = postgres.cluster()
    page = PAGE.read_text(encoding="utf-8").replace("/etc/modemctl", str(tmp_path))
    made = re.search(r'psql -c "(CREATE DATABASE .+?)"$', page, re.MULTILINE)
    settings = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    copied = re.search(r"^ +(modemctl db copy .+?)\n +chown", page, re.MULTILINE | re.DOTALL)
    assert made, "how the database is made"
    assert settings, "what stands in the settings"
    assert copied, "how a site is moved"
    (tmp_path / "database.password").write_text("geheim\n", encoding="utf-8")
    (tmp_path / "database.password").chmod(0o600)
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    keys = "".join(f'{one}_key_file = "{tmp_path}/{one}.key"\n' for one in ("master", "audit"))
    state = f'{keys}state_dir = "{tmp_path}/state"\n'
    old.write_text(f'[site]\nnode = "n1"\n[paths]\n{state}', encoding="utf-8")
    new.write_text(ADDRESS.sub(cluster.url("modemctl"), settings[1]) + state, encoding="utf-8")
    cluster.sql(made[1])
    try:
        for line in (f"key create {tmp_path}/master.key", f"key create {tmp_path}/audit.key",
                     f"-c {old} db upgrade"):  # fmt: skip
            assert call(*shlex.split(line)).status == 0, line
        typed = ADDRESS.sub(cluster.url("modemctl"), copied[1]).replace("\\\n", " ")
        done = call("-c", old, *shlex.split(typed)[1:])
        assert done.status == 0, done
        assert "whole" in done.out
        assert call("-c", old, "db", "status").status != 0, "it is marked"
        done = call("-c", new, "db", "status")
        assert done.out.startswith("database fits"), done
        assert call("-c", new, "audit", "verify", "--offline").status == 0
    finally:
        cluster.sql("DROP DATABASE modemctl WITH (FORCE)")
