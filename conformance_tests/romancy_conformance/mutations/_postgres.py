"""Mends of the PostgreSQL adapter."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["MUTATIONS"]

_sql = partial(Mutation, file="backends/romancy_postgres/*.sql")
_ALIVE = "where exists (select from romancy_workers where token = $1 and not dead)\non conflict do nothing;"

MUTATIONS = (
    _sql(
        name="postgres: the writer's row is not asked",
        pitfall="A4",
        text=_ALIVE,
        replacement="where exists (select from romancy_workers where token = $1)\non conflict do nothing;",
        times=2,
        tests="test_log.py dead_worker or thaw",
    ),
    _sql(
        name="postgres: a former life reaches the new one",
        pitfall="A4",
        text="(item.instance_id, item.life) in (select instance_id, life from held)",
        replacement="item.instance_id in (select instance_id from held)",
        tests="test_log.py former_life",
    ),
    _sql(
        name="postgres: uncounted mail of sessions is nobody's",
        pitfall="A7",
        text="where not counted and at < romancy_now() - 5000000",
        replacement="where not counted and at < romancy_now() - 50000000000",
        tests="test_neighbours.py nobody_counted",
    ),
    Mutation(
        name="postgres: a session ended by user code is committed",
        pitfall="A9",
        file="backends/romancy_postgres/*.py",
        text='f"release savepoint {self._guard}; {LOCAL_SETTINGS}"',
        replacement="LOCAL_SETTINGS",
        tests="test_sessions.py agree",
    ),
    _sql(
        name="postgres: an owner changes without its log row",
        pitfall="A10",
        text="from logged\nwhere i.instance_id = logged.instance_id\nreturning i.instance_id;",
        replacement=(
            "from (select instance_id, head + 1 as seq from placed) logged\n"
            "where i.instance_id = logged.instance_id\nreturning i.instance_id;"
        ),
        tests="test_interleavings.py owner_changes",
    ),
    _sql(
        name="postgres: a release does not look at the counter",
        pitfall="B1",
        text="when i.signals = fit.seen then fit.wake_at\n                       else romancy_now() end",
        replacement="else fit.wake_at end",
        tests="test_inbox.py missed",
    ),
    _sql(
        name="postgres: a dedupe key is forgotten with its message",
        pitfall="B3",
        text="    where f.dedupe is null or keyed.dedupe is not null\n",
        replacement="    where f.n > 0\n",
        times=2,
        tests="test_inbox.py dedupe_key",
    ),
    _sql(
        name="postgres: an end does not look at the inbox",
        pitfall="B8",
        text="(item.instance_id, item.seen) in (select instance_id, signals from held))",
        replacement="item.instance_id in (select instance_id from held))",
        tests="test_interleavings.py end",
    ),
    _sql(
        name="postgres: the ended take mail",
        pitfall="B8",
        text="    where not held.closed\n",
        replacement="",
        tests="test_inbox.py takes_no_mail",
    ),
    _sql(
        name="postgres: who beats is taken over all the same",
        pitfall="D1",
        text="and (dead.dead or dead.beat = $3)",
        replacement="and (dead.dead or dead.beat >= 0 or $3 = 0)",
        tests="test_leases.py beat_meanwhile",
    ),
    _sql(
        name="postgres: code that refused gets it again",
        pitfall="D4",
        text="          and known.code <> all (i.refused)\n          and (i.code",
        replacement="          and (i.code",
        tests="test_claims.py fitting_code",
    ),
)
