"""Mutations of the SQL files: each removes one fence, and a named test of the contract must fail.

A mutation consists of an exact piece of a `.sql` file of an adapter, its replacement, and the test that must fail. The
tool copies the tree, applies the mutation to the copy, and runs the test there. A mutation that no longer finds its
text is an error: update it, or delete it together with the fence.

    python -m tools.mutations [--jobs N] [WORD…]

runs the mutations whose name contains a word or whose pitfall is one of the words; without words, all of them. `make
mutations` does the same. Python modules have no mutations: their text changes too often.
"""

from __future__ import annotations

from tools.mutations import mysql, postgres, sqlite, walking
from tools.mutations.playing import Mutation

__all__ = ["HANDFUL", "MUTATIONS", "Mutation"]

MUTATIONS: tuple[Mutation, ...] = (
    *sqlite.MUTATIONS,
    *postgres.MUTATIONS,
    *mysql.MUTATIONS,
    *walking.MUTATIONS,
)

HANDFUL = (
    "sqlite: an append does not check that its writer is alive",
    "postgres: a release ignores unseen messages",
    "mysql: a release ignores unseen messages",
    "mariadb: a release ignores unseen messages",
)
"""The mutations that `make test-long` plays, one for each database. `make mutations` and `make soak` play all."""
