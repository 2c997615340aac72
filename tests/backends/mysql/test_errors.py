"""How the adapter translates the driver's errors: by kind, and without the user's data in the text."""

from __future__ import annotations

import subprocess
import sys

import pymysql.err
import pytest

from romancy.errors import InternalError, OutcomeUnknownError, StorageConfigurationError, StorageUnavailableError
from romancy_mysql._errors import (
    ConnectionLostError,
    LockWaitError,
    MismatchError,
    ReadOnlyServerError,
    RefusedValueError,
    SavepointGoneError,
    ServerRefusalError,
    TransientError,
    already_there,
    code_of,
    overran,
    translate,
)

OPERATIONAL, DATA = pymysql.err.OperationalError, pymysql.err.DataError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1213, TransientError),
        (1205, LockWaitError),
        (1020, TransientError),
        (2006, ConnectionLostError),
        (2013, ConnectionLostError),
        (1053, ConnectionLostError),
        (2003, ServerRefusalError),
        (1040, ServerRefusalError),
        (1290, ReadOnlyServerError),
        (1836, ReadOnlyServerError),
        (1114, ServerRefusalError),
        (6, ServerRefusalError),
        (28, ServerRefusalError),
        (1045, StorageConfigurationError),
        (1049, StorageConfigurationError),
        (1142, StorageConfigurationError),
        (1146, StorageConfigurationError),
        (1048, MismatchError),
        (1242, MismatchError),
        (1406, RefusedValueError),
        (1305, SavepointGoneError),
        (1064, InternalError),
        (1062, MismatchError),
        (8005, TransientError),
        (8120, ServerRefusalError),
        (8175, ServerRefusalError),
        (8176, ServerRefusalError),
        (8178, RefusedValueError),
        (8249, StorageConfigurationError),
        (8252, ServerRefusalError),
        (8253, ServerRefusalError),
        (9008, ServerRefusalError),
        (9011, ServerRefusalError),
    ],
)
def test_an_error_by_its_number(code: int, kind: type[Exception]) -> None:
    assert type(translate(OPERATIONAL(code, "text"), "a_query", "mysql://me:***@db/orders")) is kind


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (1105, "target: shop.0.primary: no healthy tablet available for 'keyspace'", ConnectionLostError),
        (2002, "target: shop.0.primary: vttablet: rpc error: code = Unavailable", ConnectionLostError),
        (1105, "target: shop.0.primary: vttablet: Lock wait timeout exceeded", LockWaitError),
        (1105, "syntax error at position 104", InternalError),
        (1317, "target: shop.0.primary: vttablet: row count exceeded 10000", StorageConfigurationError),
        (1317, "multi-db transaction attempted: [target:{keyspace:shop}]", StorageConfigurationError),
        (1317, "target: shop.0.primary: vttablet: transaction 7: ended at noon", ConnectionLostError),
    ],
)
def test_an_error_of_a_tablet(code: int, text: str, kind: type[Exception]) -> None:
    """What is told of its last try says nothing of an earlier one."""
    assert type(translate(OPERATIONAL(code, text), "a_query", "mysql://me:***@db/orders")) is kind


@pytest.mark.parametrize("code", [1205, 1213, 1406, 1048, 1062, 1064, 1045, 1290, 2013, 9999])
def test_no_error_repeats_what_the_server_quotes(code: int) -> None:
    error = translate(DATA(code, "Duplicate entry 'tell nobody' for key"), "a_query", "here")

    assert "nobody" not in str(error)


@pytest.mark.parametrize("code", [3024, 1969, 8175, 8253, 1290, 1213, 9003])
def test_a_statement_over_a_limit_is_itself_at_fault(code: int) -> None:
    """So the statement of a user raises the driver's error, and is not tried again."""
    assert overran(OPERATIONAL(code, "")) is (code in {3024, 1969, 8175, 8253})


def test_a_driver_that_is_not_connected_has_lost_its_connection() -> None:
    assert type(translate(pymysql.err.InterfaceError("(0, 'Not connected')"), "q", "here")) is ConnectionLostError


def test_what_may_be_tried_again_is_unavailable_to_a_caller() -> None:
    assert issubclass(ConnectionLostError, StorageUnavailableError)
    assert issubclass(ServerRefusalError, StorageUnavailableError)
    assert not issubclass(ConnectionLostError, OutcomeUnknownError)


def test_a_step_taken_before_is_no_error() -> None:
    assert [code for code in (1050, 1060, 1061, 1091, 1064, 1213) if already_there(OPERATIONAL(code, ""))] == [
        1050,
        1060,
        1061,
        1091,
    ]
    assert code_of(ValueError(1050)) == 0


def test_errors_are_known_beside_a_second_module_of_them() -> None:
    """Django imports PyMySQL under the name of mysqlclient, and `pymysql.err` is another module after that."""
    program = """
import pymysql
from pymysql.err import IntegrityError
import romancy_mysql._connection
pymysql.install_as_MySQLdb()
import MySQLdb.converters
assert pymysql.err.IntegrityError is not IntegrityError
from romancy_mysql._connection import exchange_error
print(type(exchange_error(IntegrityError(1062, ""), "a", "b", closed=False)).__name__)
"""
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert ended.stdout == "MismatchError\n"
