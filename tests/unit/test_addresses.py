"""Where a PostgreSQL server is said to be: what no waiting mends is refused at once."""

import pytest
from sqlalchemy import make_url

from modemctl.errors import ConfigError
from modemctl.store import addresses
from modemctl.store.postgresql import create_engines
from tests.support.tools import require_package

SITE = "postgresql+psycopg://modemctl@db.example:5433/site"


@pytest.fixture(autouse=True)
def _driver() -> None:
    require_package("psycopg")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("sslmod=require", 'site: invalid connection option "sslmod"'),
        ("sslmode=verifyfull", "sslmode is verifyfull; it may be disable, .*, verify-full"),
        ("sslmode=verify-full", r"\.postgresql/root\.crt is not there, .*; name the certificate"),
        (
            "sslmode=verify-ca&sslrootcert=/no/ca.crt",
            r"ca\.crt is not there, .* sslrootcert in",
        ),
    ],
)
def test_an_address_by_which_no_server_is_ever_reached_is_refused_at_once(
    options, told, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    with pytest.raises(ConfigError, match=told):
        create_engines(f"{SITE}?{options}", n_readers=1)


@pytest.mark.parametrize(
    "url",
    [
        SITE,
        f"{SITE}?sslmode=require&connect_timeout=3",
        f"{SITE}?sslmode=verify-full&sslrootcert={__file__}",
        f"{SITE}?sslmode=verify-full&sslrootcert=system",
        "postgresql+psycopg://modemctl@/site?host=/run/postgresql&sslmode=verify-full",  # no TLS
    ],
)
def test_addresses_that_may_be_right_are_let_through(url):
    addresses.require_sound(url)


def test_a_person_is_shown_the_place_without_password_and_options():
    url = make_url(SITE).set(password="geheim").update_query_string("sslmode=verify-full")
    assert addresses.shown(url) == SITE
    local = "postgresql+psycopg://modemctl@/site?host=/run/postgresql"
    assert addresses.shown(f"{local}&application_name=x") == local
    assert addresses.shown("sqlite:////var/lib/modemctl/modemctl.db").endswith("modemctl.db")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('FATAL:  password authentication failed for user "modemctl"', "database_password_file"),
        ("fe_sendauth: no password supplied", "database_password_file"),
        ('FATAL:  database "modemclt" does not exist', "name one that is there"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.7"', "pg_hba.conf"),
        ('server certificate for "db2" does not match host name "db"', "as its certificate"),
        ("SSL error: certificate verify failed", "sslrootcert"),
        ("failed to resolve host 'db'", "spelt right"),
        ("致命错误:  用户 modemctl 认证失败", "is the server up"),
    ],
)
def test_what_was_said_has_a_cure(said, told):
    assert told in addresses.cure(said)
