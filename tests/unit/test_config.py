import subprocess
import sys
from datetime import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

from modemctl import config
from modemctl.config import BUILT_IN_CHAINS, OnDoubt, Settings, load
from modemctl.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "modemctl.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def problems(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return [problem.replace(f"{path}:", "FILE:") for problem in caught.value.problems]


def test_naming_the_default_path_does_not_build_the_models() -> None:
    code = "import sys, modemctl.config as c; c.DEFAULT_PATH; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_every_public_name_is_found_and_no_other() -> None:
    for name in config.__all__:
        assert getattr(config, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = config.nonsense


def test_empty_file_means_all_defaults(write) -> None:
    assert load(write(""), {}) == Settings()


def test_values_reach_their_slices(write) -> None:
    settings = load(
        write(
            """
            [bank]
            ports = ["/dev/serial/by-path/*", "tcp://127.0.0.1:7000", "unix:/run/bank/1"]
            [hours]
            quiet_from = 20:30:00
            quiet_until = "09:00"
            [api.peers]
            1000 = "wang"
            [sms]
            on_doubt = "hold"
            """
        ),
        {},
    )
    assert settings.bank.ports[1] == "tcp://127.0.0.1:7000"
    assert (settings.hours.quiet_from, settings.hours.quiet_until) == (time(20, 30), time(9))
    assert settings.api.peers == {1000: "wang"}
    assert settings.sms.on_doubt is OnDoubt.HOLD


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().limits.segments_per_day = 10**6


def test_all_mistakes_are_told_at_once_with_line_and_key(write) -> None:
    path = write(
        "\n".join(
            [
                "[site]",  # 1
                'timezone = "Mars/Base"',
                "[bank]",
                "ports = [",  # 4
                '  "/dev/ttyUSB0",',
                "  5,",
                "]",
                "[limits]",
                "segments_per_minute = '10'",  # 9
                "minimum_gapp = 2",
                "minimum_gap = nan",
                "[approvals]",
                "max_age_hours = 0",  # 13
                "[hours]",
                "categories.notice = { quiet_from = '20:00', quiet_until = 'late' }",
                "[nonsense]",  # 16
                "key = 1",
            ]
        )
    )
    told = problems(path)
    assert {problem.split(": ")[0] + " " + problem.split(": ")[1] for problem in told} == {
        "FILE:2 site.timezone",
        "FILE:4 bank.ports.1",
        "FILE:9 limits.segments_per_minute",
        "FILE:10 limits.minimum_gapp",
        "FILE:11 limits.minimum_gap",
        "FILE:13 approvals.max_age_hours",
        "FILE:15 hours.categories.notice.quiet_until",
        "FILE:16 nonsense",
    }
    assert "FILE:10: limits.minimum_gapp: unknown key; did you mean minimum_gap?" in told


def test_lines_are_right_after_values_that_look_like_keys(write) -> None:
    path = write(
        "# [limits]\n"
        "[site]\n"
        'signature = """\\\n'
        "[limits]\n"
        'id = 1"""\n'
        "[bank]\n"
        "ports = [\n"
        "  # id = 3\n"
        "  '/dev/a', # ]\n"
        "]\n"
        'api."tcp_port" = 1\n'  # 11
        "[hours.categories]\n"
        "[hours]\n"
        "typo = { a = 1 }\n"  # 14
    )
    assert [problem.split(": ")[0] for problem in problems(path)] == ["FILE:11", "FILE:14"]


def test_syntax_error_names_file_and_line(write) -> None:
    assert problems(write("[site]\nid = 'a'\nid = 'b'\n"))[0].startswith(
        "FILE:3: not valid TOML: Cannot overwrite a value"
    )


def test_mistakes_come_in_the_order_of_their_lines(write) -> None:
    path = write("[bank]\ncard = 1\nhub_power = 'yes'\nrescan_interval = 'x'\n[limit]\na = 1\n")
    places = [problem.split(": ")[0] for problem in problems(path)]
    assert places == ["FILE:2", "FILE:3", "FILE:4", "FILE:5"]


def test_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert problems(path) == ["FILE: no such file; name another with --config"]


def test_folder_or_wrong_encoding_is_one_clear_line(tmp_path: Path) -> None:
    assert problems(tmp_path) == ["FILE: cannot be read: Is a directory"]
    path = tmp_path / "gbk.toml"
    path.write_bytes("signature = '【公司】'".encode("gb18030"))
    assert problems(path) == ["FILE:1: not UTF-8; save it as UTF-8"]


@pytest.mark.parametrize(
    ("category", "policy_id"), [(name, policy) for name, (policy, _) in BUILT_IN_CHAINS.items()]
)
def test_built_in_chain_cannot_be_replaced(write, category: str, policy_id: str) -> None:
    told = problems(write(f"[approvals.chains]\n{category} = ['clerk']\n"))
    assert len(told) == 1
    assert told[0].startswith("FILE:1: approvals.chains: ")
    assert f"(policy: {policy_id})" in told[0]


def test_built_in_chain_cannot_be_reordered(write) -> None:
    chain = "['general_manager', 'manager_in_charge']"
    assert "SMS-03" in problems(write(f"[approvals.chains]\npromotion = {chain}\n"))[0]


def test_chains_may_be_lengthened_and_categories_added(write) -> None:
    settings = load(
        write(
            """
            [approvals.chains]
            promotion = ["manager_in_charge", "compliance", "general_manager"]
            alarm = ["manager"]
            [hours.categories.alarm]
            quiet_from = "01:00"
            quiet_until = "05:00"
            """
        ),
        {},
    )
    assert settings.approvals.chains["promotion"][1] == "compliance"
    assert settings.approvals.chains["notice"] == ("department_manager",)
    quiet = settings.hours.quiet_for("alarm")
    assert quiet is not None
    assert quiet.quiet_from == time(1)


def test_quiet_hours_for_a_category_without_chain_are_refused(write) -> None:
    text = "[hours.categories.spam]\nquiet_from = '01:00'\nquiet_until = '02:00'\n"
    assert "hours.categories names spam" in problems(write(text))[0]


def test_only_promotions_have_quiet_hours_by_default() -> None:
    hours = Settings().hours
    assert hours.quiet_for("notice") is None
    promotion = hours.quiet_for("promotion")
    assert promotion is not None
    assert (promotion.quiet_from, promotion.quiet_until) == (time(21), time(8))


def test_equal_hours_mean_no_quiet_hours(write) -> None:
    text = "[hours]\nquiet_from = '00:00'\nquiet_until = '00:00'\n"
    assert load(write(text), {}).hours.quiet_for("promotion") is None


def test_environment_overrides_the_file(write) -> None:
    settings = load(
        write("[limits]\nsegments_per_day = 500\n"),
        {
            "MODEMCTL_LIMITS__SEGMENTS_PER_DAY": "300",
            "MODEMCTL_SITE__ID": "7",
            "MODEMCTL_SMS__REQUEST_REPORTS": "false",
            "MODEMCTL_BANK__PORTS": '["/dev/a"]',
            "MODEMCTL_CONFIG": "left to the command line",
            "PATH": "not ours",
        },
    )
    assert settings.limits.segments_per_day == 300
    assert settings.site.id == "7"
    assert settings.sms.request_reports is False
    assert settings.bank.ports == ("/dev/a",)


def test_unknown_and_wrong_variables_are_named(write) -> None:
    told = problems(
        write(""),
        {"MODEMCTL_LIMIT__X": "1", "MODEMCTL_FOO": "1", "MODEMCTL_API__TCP_PORT": "many"},
    )
    assert sorted(problem.split(": ")[0] for problem in told) == [
        "environment variable MODEMCTL_API__TCP_PORT",
        "environment variable MODEMCTL_FOO",
        "environment variable MODEMCTL_LIMIT__X",
    ]


def test_credentials_of_systemd_are_the_default_keys(write, tmp_path: Path) -> None:
    (tmp_path / "master.key").touch()
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    paths = load(write(""), environ).paths
    assert paths.master_key_file == tmp_path / "master.key"
    assert paths.audit_key_file == Path("/etc/modemctl/audit.key")
    assert not paths.database_password_file
    (tmp_path / "database.password").touch()
    handed = load(write(""), environ).paths
    assert handed.database_password_file == str(tmp_path / "database.password")
    named = load(write("[paths]\nmaster_key_file = '/k'\n"), environ).paths
    assert named.master_key_file == Path("/k")


def test_database_is_sqlite_in_the_state_folder_unless_named(write) -> None:
    paths = load(write("[paths]\nstate_dir = '/srv/bank'\n"), {}).paths
    assert paths.database_url == "sqlite+pysqlite:////srv/bank/modemctl.db"
    named = load(write("[paths]\ndatabase = 'postgresql+psycopg:///bank'\n"), {}).paths
    assert named.database_url == "postgresql+psycopg:///bank"


def test_password_in_a_database_address_is_not_repeated(write) -> None:
    path = write("[paths]\ndatabase = ['postgresql://u:secret@h/d']\nstate_dir = 'relative'\n")
    assert "secret" not in "".join(problems(path))


@pytest.mark.parametrize(
    "url",
    ["postgres://u:secret@h/d", "postgresql://u:secret@h/d", "postgresql+psycopg://u:secret@h:port/d",
     "postgresql+psycopg://u:secret@[h/d", "mysql://u:secret@h/d", "/var/lib/secret.db"],
)  # fmt: skip
def test_a_database_that_nothing_can_open_is_refused_and_not_shown(write, url: str) -> None:
    (problem,) = problems(write(f"[paths]\ndatabase = '{url}'\n"))
    assert problem.startswith("FILE:2: paths.database: must be postgresql+psycopg://")
    assert "secret" not in problem


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg:///bank", "postgresql+psycopg://u@[::1]:5432/d?sslmode=require",
     "postgresql+psycopg://h", "sqlite:////var/lib/x.db", "sqlite+pysqlite:///x.db"],
)  # fmt: skip
def test_a_database_is_named_as_sqlalchemy_names_it(write, url: str) -> None:
    assert load(write(f"[paths]\ndatabase = '{url}'\n"), {}).paths.database_url == url
    make_url(url)


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://u:secret@h/d", "postgresql+psycopg://u:secret%40:/x@[::1]:5432/d",
     "postgresql+psycopg://u@h/d?password=secret", "postgresql+psycopg://h/d?a=b&SSLPassword=secret"],
)  # fmt: skip
def test_a_password_stands_in_a_file_of_its_own(write, url: str) -> None:
    (problem,) = problems(write(f"[paths]\ndatabase = '{url}'\n"))
    assert problem.startswith("FILE:2: paths.database: holds a password; put it into a file")
    assert "secret" not in problem
    assert "must be an absolute path" in problems(
        write("[paths]\ndatabase_password_file = 'here'\n")
    )[0]  # fmt: skip


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "localhost", "::"])
def test_api_listens_on_loopback_only(write, host: str) -> None:
    assert "loopback" in problems(write(f"[api]\ntcp_host = '{host}'\n"))[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[paths]\nmaster_key_file = "/etc/a\\u0000"',
            "FILE:2: paths.master_key_file: must be an absolute path",
        ),
        ("[paths]\nstate_dir = 'state'", "FILE:2: paths.state_dir: must be an absolute path"),
        (
            "[bank]\nports = ['/dev/**']",
            "FILE:2: bank.ports: a port's pattern has no **",
        ),
        (
            "[bank]\nports = ['//dev/tty*']",
            "FILE:2: bank.ports: a port's path begins with one /",
        ),
        (
            "[bank]\nports = ['ttyUSB0']",
            "FILE:2: bank.ports: each port must be usb, or begin with /",
        ),
        ("[hours]\nquiet_from = '21:00Z'", "FILE:2: hours.quiet_from: must be a local time"),
        (
            "[approvals.chains]\nx = ['a', 'a']",
            "FILE:1: approvals.chains: the chain of x names a step twice",
        ),
        ("[approvals.chains]\nx = []", "FILE:2: approvals.chains.x: "),
    ],
)
def test_a_value_of_the_wrong_sort_says_what_is_right(write, text: str, told: str) -> None:
    (problem,) = problems(write(text))
    assert problem.startswith(told)


def test_policy_digest_changes_with_policy_and_with_nothing_else(write) -> None:
    plain = Settings().policy_digest()
    assert load(write("[logging]\nlevel = 'debug'\n"), {}).policy_digest() == plain
    assert load(write("[limits]\nsegments_per_day = 501\n"), {}).policy_digest() != plain


@pytest.mark.parametrize(
    "value",
    ["1" + "0" * 5_000, "0x" + "f" * 6_000, "[" * 3_000 + "]" * 3_000],
    ids=["digits", "hexadecimal", "nested"],
)
def test_what_python_itself_stumbles_over_is_told_as_any_mistake(write, value: str) -> None:
    (told,) = problems(write(f"[bank]\nports = {value}\n"))
    assert told.startswith("FILE: ")
    assert len(told) < 300
    assert problems(write(""), {"MODEMCTL_API__TCP_PORT": value})
