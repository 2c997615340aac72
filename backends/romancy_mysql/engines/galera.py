"""A Galera cluster: nodes that each take writes, and certify each other's transactions at their commit.

A lock of one node is not known to the others. Of two transactions that write one row on two nodes, the later one is
rolled back at its commit or before (error 1213), and sent again. A transaction that only locks what the other one
writes is not. So what has to exclude others across nodes writes a row.

A commit is certified on all nodes when it is acknowledged, and applied on the others a moment later. So each statement
and each transaction first waits for what was committed anywhere before it (`wsrep_sync_wait`).

A node announces the version of the server that it is made from. It is known by a setting, and is that engine otherwise.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy_mysql.engines.engine import Errors

if TYPE_CHECKING:
    from romancy_mysql.engines.engine import Engine

__all__ = ["ERRORS", "IS_NODE", "IS_READY", "as_node"]

IS_NODE: Final = b"show variables where variable_name = 'wsrep_on' and value = 'ON'"
IS_READY: Final = b"show status where variable_name = 'wsrep_ready' and value = 'ON'"
"""Each has a row if it is so."""
ERRORS: Final = Errors(detached=frozenset({1047}), unavailable={1047: "the server is not part of its cluster now"})
_STATUS: Final = b"select variable_value%b from information_schema.global_status where variable_name = '%b'"


@cache
def as_node(engine: Engine) -> Engine:
    """This engine as a node of a cluster."""
    return replace(
        engine,
        addition=" Galera",
        # Wait before SELECT (1), before UPDATE and DELETE (2), and before INSERT (4).
        session=f"{engine.session}, wsrep_sync_wait = 7",
        # A node would forget that it has to wait for the others, whatever `wsrep_sync_wait` says then.
        resets=False,
        loses_begin=True,
        row_locks=False,
        named_locks=False,
        numbers_alike=False,
        not_serializable="what a session reads is locked on one node of a Galera cluster alone",
        place=_STATUS % (b"", b"wsrep_cluster_state_uuid"),
        applied=_STATUS % (b" + 0", b"wsrep_last_committed"),
    )
