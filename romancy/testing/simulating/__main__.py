"""`python -m romancy.testing.simulating`: plays cases for `simulate`, each in a fork of this interpreter.

It reads an order and then cases, one on each line, and answers each with one line. It has imported the test's modules
before the first case. Where no process can be forked, it plays one case and ends.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import msgspec

from romancy.testing.simulating.cases import Case
from romancy.testing.simulating.cluster import Cluster
from romancy.testing.simulating.nurseries import Order, Ready
from romancy.testing.simulating.places import found
from romancy.testing.simulating.playing import Given, play
from romancy.testing.simulating.refusals import install

if TYPE_CHECKING:
    from romancy.testing.simulating.places import Place

__all__ = ["main"]


def main() -> None:
    """Carry out the order from stdin."""
    orders, answers = _channels()
    order = msgspec.json.decode(orders.readline(), type=Order)
    sys.path[:] = order.path
    install()
    try:
        given = Given(
            [found(place) for place in order.workflows],
            found(order.client),
            _found(order.check),
            _found(order.prepare),
            order.faults,
            order.patience,
        )
    except BaseException as error:  # noqa: BLE001 - the other process tells it
        _say(answers, Ready(f"{type(error).__name__}: {error}"))
        return
    Cluster("none")  # so that the database is imported once
    _say(answers, Ready())
    for line in orders:
        case = msgspec.json.decode(line, type=Case)
        if not _forked(given, case, answers):
            return  # the other process reads that nothing more comes


if sys.platform == "win32" or not hasattr(os, "fork"):

    def _forked(given: Given, case: Case, answers: BinaryIO) -> bool:
        """Play the case in this process, which ends with it."""
        _play(given, case, answers)

else:

    def _forked(given: Given, case: Case, answers: BinaryIO) -> bool:
        """Play the case in a fork. Whether the fork played it to its end."""
        child = os.fork()
        if not child:
            _play(given, case, answers)
        return os.waitpid(child, 0)[1] == 0


def _channels() -> tuple[BinaryIO, BinaryIO]:
    """Stdin and stdout, of which the code under test gets neither."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return orders, answers


def _found(place: Place | None) -> Any:
    return None if place is None else found(place)


def _play(given: Given, case: Case, answers: BinaryIO) -> NoReturn:
    """Play the case, and end this process."""
    status = 1
    try:
        _say(answers, play(given, case))
        status = 0
    except BaseException:  # noqa: BLE001 - the fork must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _say(answers: BinaryIO, what: msgspec.Struct) -> None:
    answers.write(msgspec.json.encode(what) + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
