"""A pooler in transaction mode before a server, as PgBouncer is one: each transaction may be in another session.

It is known by the option `pooler`, and the engine behind it is that engine otherwise. A pooler on the way of which the
URL says nothing is known by its errors, and by the settings that it drops.
"""

from __future__ import annotations

import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy_postgres.engines.engine import Errors, Restated

if TYPE_CHECKING:
    from romancy_postgres.engines.engine import Engine

__all__ = ["DROPPED", "ERRORS", "as_pooled"]

_MEND: Final = "add the option pooler=transaction to the URL, or name the server itself there"
_NOT_KEPT: Final = f"a pooler in transaction mode does not keep prepared statements; {_MEND}"

DROPPED: Final = (
    "a pooler on the way drops the settings of the connection ({names}), as PgBouncer does with "
    f"ignore_startup_parameters; {_MEND}"
)
ERRORS: Final = Errors(
    # It says so under the state of a refused setting.
    restated=(Restated("08P01", re.compile(".*authentication failed"), "28P01"),),
    misconfigured=MappingProxyType(
        {
            "08P01": f"a pooler refuses the settings of the connection, as PgBouncer does in every mode; {_MEND}",
            "26000": _NOT_KEPT,
            "42P05": _NOT_KEPT,
        }
    ),
    worded=MappingProxyType(
        {
            "not allowed in statement pooling mode": (
                "the pooler is in statement mode, which takes no transactions; set its pool_mode to transaction"
            )
        }
    ),
)


@cache
def as_pooled(engine: Engine) -> Engine:
    """This engine behind a pooler in transaction mode."""
    return replace(
        engine,
        keeps_session=False,
        forgets_statements=(
            "%s: the pooler does not keep prepared statements, so each statement is a transaction of four round trips "
            "or more instead of one; PgBouncer keeps them from 1.21 on, in transaction mode, with "
            "max_prepared_statements above 0"
        ),
    )
