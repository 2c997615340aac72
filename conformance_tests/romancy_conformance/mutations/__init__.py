"""The suite's own test: every mend is taken out in turn, and the suite must turn red.

A mutation is one exact piece of source text and what takes its place, with the tests that must notice. The tree is
copied, one mutation applied, and the named tests run there. A mutation whose text is no longer found is an error:
either the mend has moved, and the mutation must follow, or it is gone.

    python -m romancy_conformance.mutations [--jobs N] [WORD…]

plays those whose name (it begins with the backend) holds a word, or whose pitfall is one; without words all of them, as
`make mutations` does.

A green run of the named tests under a mutation means that nothing holds that mend any more. A red one counts only
if a test failed: a mutation that is no program shows nothing.
"""

from __future__ import annotations

from romancy_conformance.mutations import _core, _engine, _memory, _mysql, _postgres, _sqlite
from romancy_conformance.mutations._mutation import Mutation

__all__ = ["HANDFUL", "MUTATIONS", "Mutation"]

MUTATIONS: tuple[Mutation, ...] = (
    *_memory.MUTATIONS,
    *_core.MUTATIONS,
    *_engine.MUTATIONS,
    *_sqlite.MUTATIONS,
    *_postgres.MUTATIONS,
    *_mysql.MUTATIONS,
)

HANDFUL = (
    "memory: the writer's row is not asked",
    "memory: a release does not look at the counter",
    "memory: any nonce is one's own",
    "sqlite: the writer's row is not asked",
    "sqlite: a release does not look at the counter",
    "postgres: a release does not look at the counter",
    "mysql: a release does not look at the counter",
    "mariadb: a release does not look at the counter",
)
"""Those that the ordinary run plays, one at least on every database; `make mutations` and `make soak` play all."""
