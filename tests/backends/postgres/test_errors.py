"""How the adapter translates the driver's errors for callers of the store."""

from __future__ import annotations

import re

import asyncpg
import pytest

from romancy.errors import InternalError, StorageConfigurationError, StorageError, StorageUnavailableError
from romancy.storage.url import parse_url
from romancy_postgres._errors import contended, refuses_values, translated, waited_in_vain

URL = f"storage {parse_url('postgresql://me:hunter2@db.example/orders')}"


def error(state: str, text: str = "in the server's words") -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": state, "M": text, "S": "ERROR", "V": "ERROR"})


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
def test_what_others_hold_is_tried_again(state: str) -> None:
    assert contended(error(state))
    assert waited_in_vain(error(state)) == (state == "55P03")
    assert isinstance(translated(error(state), URL), StorageUnavailableError)


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        ("08006", True),
        ("08003", True),
        ("57P01", True),
        ("57P02", True),
        ("58030", True),
        ("53100", False),
        ("53300", False),
        ("57P03", False),
        ("57014", False),
        ("25006", False),
    ],
)
def test_a_server_in_trouble_is_unavailable(state: str, *, lost: bool) -> None:
    found = translated(error(state), URL)

    assert not contended(error(state))
    assert isinstance(found, StorageUnavailableError)
    assert lost is found.maybe_written


@pytest.mark.parametrize("state", ["28P01", "28000", "3D000", "42501", "42P01", "26000", "42P05", "0A000"])
def test_an_error_that_no_retry_mends_is_one_of_configuration(state: str) -> None:
    found = translated(error(state), URL)

    assert isinstance(found, StorageConfigurationError)
    assert state in str(found)


@pytest.mark.parametrize("state", ["22021", "22003", "23505", "54000"])
def test_refused_values_are_not_shown(state: str) -> None:
    found = translated(error(state, "invalid value: 'top secret'"), URL)

    assert refuses_values(error(state))
    assert isinstance(found, InternalError)
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "raised", [OSError("no route"), TimeoutError(), asyncpg.InterfaceError("closed"), ConnectionResetError()]
)
def test_a_broken_connection_is_unavailable(raised: Exception) -> None:
    found = translated(raised, URL)

    assert isinstance(found, StorageUnavailableError)
    assert found.maybe_written


def test_an_unknown_error_is_not_translated() -> None:
    assert translated(error("XX000"), URL) is None
    assert translated(ValueError(), URL) is None


def test_no_message_holds_the_password() -> None:
    states = ["40001", "53300", "28P01", "26000", "22021"]
    found = [translated(one, URL) for one in (*map(error, states), OSError("x"), TimeoutError())]

    assert all(isinstance(one, StorageError | InternalError) for one in found)
    assert [one for one in found if "hunter2" in str(one)] == []


@pytest.mark.parametrize(
    ("state", "text", "named"),
    [
        ("08P01", "unsupported startup parameter: lock_timeout", "in every mode; add the option pooler=transaction"),
        (
            "26000",
            'prepared statement "x" does not exist',
            "in transaction mode does not keep prepared statements; add",
        ),
        (
            "42P05",
            'prepared statement "x" already exists',
            "in transaction mode does not keep prepared statements; add",
        ),
        (
            "08P01",
            "transaction blocks not allowed in statement pooling mode",
            "in statement mode, .* set its pool_mode to",
        ),
        ("08003", "closed: transaction blocks not allowed in statement pooling mode", "in statement mode, .* set its"),
    ],
)
def test_what_a_pooler_does_not_do_is_named_with_its_mode_and_the_mend(state: str, text: str, named: str) -> None:
    found = translated(error(state, text), URL)

    assert isinstance(found, StorageConfigurationError)
    assert re.search(named, str(found))
