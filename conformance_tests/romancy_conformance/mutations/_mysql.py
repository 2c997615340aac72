"""Mends of the adapter for MySQL and MariaDB."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["MUTATIONS"]

_sql = partial(Mutation, file="backends/romancy_mysql/*.sql")

MUTATIONS = (
    _sql(
        name="mysql: the writer's row is not asked",
        pitfall="A4",
        text="(select :writer from romancy_workers where token = :token and dead = 0)",
        replacement="(select :writer from romancy_workers where token = :token)",
        tests="test_log.py dead_worker or thaw",
    ),
    _sql(
        name="mysql: who beats is taken over all the same",
        pitfall="D1",
        text="where d.token = :dead and d.dead = 0 and d.beat = :beat",
        replacement="where d.token = :dead and d.dead = 0 and d.beat >= 0 * :beat",
        tests="test_leases.py beat_meanwhile",
    ),
)
