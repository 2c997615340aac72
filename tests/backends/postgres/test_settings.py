"""The URL of a PostgreSQL store: every option is checked, and nothing shows the password."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.url import parse_url
from romancy_postgres._settings import Settings, read_settings
from romancy_postgres.engines import PLAIN, as_pooled

if TYPE_CHECKING:
    from pathlib import Path

_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBeTCCAR+gAwIBAgIUcOJ8/vkXkbNmk6D+NYdxjYHVRJgwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGYSB0ZXN0MCAXDTI2MTEyMDA5NDQwNVoYDzIxMjYxMDI3MDk0
NDA1WjARMQ8wDQYDVQQDDAZhIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATE91aRxNG9qdyH49ub4dMpGKsAhFL9bE6dI3H2y4lknkAUogtg2qtASIeNYeXM
pV5DUeN809bd9YMg01dq2Pa1o1MwUTAdBgNVHQ4EFgQUmR5Y+FHIODHwtNNNCSyS
MrsvYW4wHwYDVR0jBBgwFoAUmR5Y+FHIODHwtNNNCSySMrsvYW4wDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBm1jl7wf8ZeYOKyfCSaT0LGfdTK8MF
xMioLpjazYISZwIhAOppTr1k53XrW8X2SmPW+USsl1XxFp9RLWeP9QdGd+N1
-----END CERTIFICATE-----
"""

URL = "postgresql://me:s%40cret@db.example:6543/orders"


def settings(options: str = "") -> Settings:
    return read_settings(parse_url(f"{URL}?{options}" if options else URL))


def test_a_url_without_options_has_sensible_ones() -> None:
    plain = settings()

    assert (plain.prefix, plain.schema, plain.pool_size, plain.engine, plain.listen) == (
        "romancy_",
        None,
        10,
        PLAIN,
        True,
    )
    wanted = {"host": "db.example", "port": 6543, "user": "me", "password": "s@cret", "database": "orders"}
    assert {name: plain.connect[name] for name in wanted} == wanted


def test_the_password_is_not_shown() -> None:
    plain = settings()

    assert [text for text in (repr(plain), str(plain), repr(plain.url)) if "cret" in text] == []


def test_a_pooler_means_no_listening_and_prepared_statements_only_if_it_keeps_them() -> None:
    pooled = settings("pooler=transaction&listen=on")

    assert (pooled.engine, pooled.listen, pooled.connect["statement_cache_size"]) == (as_pooled(PLAIN), False, 200)
    assert pooled.without_statements().connect["statement_cache_size"] == 0


def test_a_socket_takes_the_place_of_the_host() -> None:
    assert settings("host=/run/postgresql").connect["host"] == "/run/postgresql"


@pytest.mark.parametrize(
    "options",
    [
        "pooler=session",
        "listen=maybe",
        "pool_size=1",
        "pool_size=many",
        "pool_size=nan",
        "connect_timeout=0",
        "session_idle_timeout=-1",
        "prefix=Orders_",
        "prefix=a;drop",
        "schema=My.Schema",
        "schema=pg_x",
        "schema=pg_catalog",
        "schema=information_schema",
        "sslmode=perhaps",
        "sslmode=require&sslrootcert=x.pem",
        "sslrootcert=/no/such/file.pem",
    ],
)
def test_a_wrong_option_is_named(options: str) -> None:
    name = options.split("=", maxsplit=1)[0].replace("sslmode=require&", "")

    with pytest.raises(StorageConfigurationError, match=name) as caught:
        settings(options)

    assert "cret" not in str(caught.value)


def test_the_modes_of_encryption_are_those_of_libpq(tmp_path: Path) -> None:
    assert settings("sslmode=require").connect["ssl"] == "require"
    assert settings().connect["ssl"] is None
    certificate = tmp_path / "root.pem"
    certificate.write_text(_CERTIFICATE)

    own = settings(f"sslmode=verify-ca&sslrootcert={certificate}").connect["ssl"]
    strict = settings(f"sslrootcert={certificate}").connect["ssl"]

    assert (own.check_hostname, own.verify_mode) == (False, ssl.CERT_REQUIRED)
    assert (strict.check_hostname, strict.verify_mode) == (True, ssl.CERT_REQUIRED)
