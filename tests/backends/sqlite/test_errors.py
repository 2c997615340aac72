"""How the adapter translates each of SQLite's errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from romancy.errors import InternalError, RomancyError, StorageConfigurationError, StorageUnavailableError
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import is_busy, is_item_fault, is_stale, translate

FILE = Path("/data/orders.db")


def error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    made = kind("what SQLite says")
    made.sqlite_errorcode = code
    return made


@pytest.mark.parametrize(
    ("code", "later", "opening"),
    [
        (3, StorageUnavailableError, StorageConfigurationError),  # PERM
        (5, StorageUnavailableError, StorageUnavailableError),  # BUSY
        (6, StorageUnavailableError, StorageUnavailableError),  # LOCKED
        (7, StorageUnavailableError, StorageUnavailableError),  # NOMEM
        (8, StorageUnavailableError, StorageConfigurationError),  # READONLY
        (8 | 4 << 8, StorageUnavailableError, StorageConfigurationError),  # READONLY_DBMOVED
        (9, StorageUnavailableError, StorageUnavailableError),  # INTERRUPT
        (10 | 4 << 8, StorageUnavailableError, StorageUnavailableError),  # IOERR_FSYNC
        (11, StorageUnavailableError, StorageConfigurationError),  # CORRUPT
        (13, StorageUnavailableError, StorageUnavailableError),  # FULL
        (14, StorageUnavailableError, StorageConfigurationError),  # CANTOPEN
        (26, StorageUnavailableError, StorageConfigurationError),  # NOTADB
        (1, InternalError, InternalError),  # ERROR: Romancy's SQL is wrong
    ],
)
def test_a_code_becomes_an_error_that_says_whose_fault_it_is(
    code: int, later: type[RomancyError], opening: type[RomancyError]
) -> None:
    raised = error(code)

    assert type(translate(raised, FILE)) is later
    assert type(translate(raised, FILE, opening=True)) is opening
    assert str(translate(raised, FILE)).startswith(f"SQLite file {FILE}: ")


def test_what_is_not_the_drivers_stays_as_it_is() -> None:
    mine = LookupError("mine")

    assert translate(mine, FILE) is mine


@pytest.mark.parametrize("code", [5, 5 | 1 << 8, 5 | 2 << 8, 6, 15, 17])
def test_a_lock_is_worth_waiting_for(code: int) -> None:
    assert is_busy(error(code))
    assert not is_item_fault(error(code))


@pytest.mark.parametrize("code", [1, 7, 8, 9, 10, 11, 13, 14, 19, 26])
def test_no_other_error_is_worth_waiting_for(code: int) -> None:
    assert not is_busy(error(code))


def test_an_old_snapshot_is_told_from_a_lock() -> None:
    assert is_stale(error(517))
    assert not is_stale(error(5))


@pytest.mark.parametrize(
    "fault",
    [
        error(18),
        error(19, sqlite3.IntegrityError),
        error(20),
        OverflowError(),
        UnicodeEncodeError("utf-8", "x", 0, 1, ""),
    ],
)
def test_the_values_of_one_item_are_the_items_fault(fault: BaseException) -> None:
    assert is_item_fault(fault)


@pytest.mark.parametrize("fault", [error(5), error(10), error(13), error(1), LookupError(), TypeError()])
def test_an_error_of_the_file_is_not_charged_to_an_item(fault: BaseException) -> None:
    assert not is_item_fault(fault)


def test_a_file_of_an_unknown_format_is_damaged() -> None:
    """Its first page is overwritten: SQLite tells it by words alone."""
    damaged = sqlite3.OperationalError("unsupported file format")
    damaged.sqlite_errorcode = 1

    assert "the file is damaged" in str(translate(damaged, FILE))
    assert isinstance(translate(damaged, FILE, opening=True), StorageConfigurationError)
