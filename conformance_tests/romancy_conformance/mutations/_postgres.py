"""Mends of the PostgreSQL adapter."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["MUTATIONS"]

_sql = partial(Mutation, file="backends/romancy_postgres/*.sql")
_code = partial(Mutation, file="backends/romancy_postgres/*.py")
_ALIVE = "where exists (select from romancy_workers where token = $1 and not dead)\non conflict do nothing;"

MUTATIONS = (
    _code(
        name="postgres: an instance may be twice in a batch",
        pitfall="A1",
        text="        check_batch(batch, worker)\n",
        replacement="",
        tests="test_log.py misuse",
    ),
    _code(
        name="postgres: one's own nonce is a stranger's",
        pitfall="A2",
        text="return Outcome.ACCEPTED if writer == item.writer else Outcome.TAKEN",
        replacement="return Outcome.TAKEN",
        tests="test_log.py sent_again",
    ),
    _code(
        name="postgres: any nonce is one's own",
        pitfall="A2",
        text="return Outcome.ACCEPTED if writer == item.writer else Outcome.TAKEN",
        replacement="return Outcome.ACCEPTED",
        tests="test_log.py taken_seq or another_nonce",
    ),
    _code(
        name="postgres: a session whose answer is lost has failed",
        pitfall="A3",
        text="            raise OutcomeUnknownError(",
        replacement="            raise StorageUnavailableError(",
        tests="fire/test_wire.py tombstone",
    ),
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
    _code(
        name="postgres: a takeover takes all at once",
        pitfall="A5",
        text="limit=limit - len(moved))",
        replacement="limit=100 * limit)",
        tests="test_leases.py no_more_at_once",
    ),
    _code(
        name="postgres: one locked instance stops a takeover",
        pitfall="A5",
        text="    except LockedError:\n        pass\n",
        replacement="    except LockedError:\n        return []\n",
        tests="test_neighbours.py takeover",
    ),
    _code(
        name="postgres: a frozen row freezes its batch",
        pitfall="A5",
        text="return {items[0].instance_id: Outcome.LOCKED} if alone else await self._each_alone(write, items, worker)",
        replacement="return dict.fromkeys(map(_target, items), Outcome.LOCKED)",
        tests="test_neighbours.py keeps_no_neighbour",
    ),
    _code(
        name="postgres: mail for a locked instance is kept waiting",
        pitfall="A5",
        text="_LOCK_WAITS = 2\n",
        replacement="_LOCK_WAITS = 8\n",
        tests="test_neighbours.py answered_soon",
    ),
    _code(
        name="postgres: a lock is waited for as long as it takes",
        pitfall="A5",
        text='    "lock_timeout": "1000",\n',
        replacement='    "lock_timeout": "60000",\n',
        tests="test_neighbours.py keeps_no_neighbour",
    ),
    _code(
        name="postgres: a session stands idle for ever",
        pitfall="A5",
        text='{"idle_in_transaction_session_timeout": f"{settings.session_idle * 1000:.0f}"}',
        replacement='{"idle_in_transaction_session_timeout": f"{settings.session_idle * 0:.0f}"}',
        tests="tests/backends/postgres/test_sessions.py stands_idle",
        waits=True,
    ),
    _code(
        name="postgres: a deadlock reaches the caller",
        pitfall="A7",
        text='_CONTENDED = frozenset({"40001", "40P01", _LOCK_NOT_AVAILABLE})',
        replacement='_CONTENDED = frozenset({"40001", _LOCK_NOT_AVAILABLE})',
        tests="tests/backends/postgres/test_errors.py tried_again",
    ),
    _sql(
        name="postgres: a session locks the rows of others",
        pitfall="A7",
        text="    for key share\n",
        replacement="    for no key update\n",
        tests="test_sessions.py holds_up_nobody",
        waits=True,
    ),
    _sql(
        name="postgres: uncounted mail of sessions is nobody's",
        pitfall="A7",
        text="where not counted and at < romancy_now() - 5000000",
        replacement="where not counted and at < romancy_now() - 50000000000",
        tests="test_neighbours.py nobody_counted",
        waits=True,
    ),
    _code(
        name="postgres: a session ended by user code is committed",
        pitfall="A9",
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
    _code(
        name="postgres: a claim tells a former head",
        pitfall="A11",
        text="return Claimed(**fields, head=head,",
        replacement='return Claimed(**fields, head=row["run_from"],',
        tests="test_claims.py recovering",
    ),
    _code(
        name="postgres: a refused value takes its neighbours along",
        pitfall="A12",
        text="            middle = len(items) // 2\n",
        replacement="            return dict.fromkeys(map(_target, items), Outcome.INVALID)\n            middle = 1\n",
        tests="test_neighbours.py value",
    ),
    _sql(
        name="postgres: a run that continues keeps its start",
        pitfall="A14",
        text="set run_from = renewed.run_from,",
        replacement="set run_from = i.run_from,",
        tests="test_claims.py continues",
    ),
    _sql(
        name="postgres: a release does not look at the counter",
        pitfall="B1",
        text="when i.signals = fit.seen then fit.wake_at\n                       else romancy_now() end",
        replacement="else fit.wake_at end",
        tests="test_inbox.py missed",
    ),
    _sql(
        name="postgres: a delivery does not move the counter",
        pitfall="B1",
        text="set signals = i.signals + new.mail,",
        replacement="set signals = i.signals + 0 * new.mail,",
        times=3,
        tests="test_interleavings.py delivery_and_a_release or release_held",
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
        name="postgres: a start notifies inside its commit",
        pitfall="B5",
        text="(select array_agg(instance_id) from created), '{}') end;",
        replacement=(
            "(select array_agg(instance_id) from created), '{}') end\n"
            "from (select count(told) from created,\n"
            "      lateral pg_notify('romancy_work', '[\"x\",\"' || instance_id || '\"]') as told) as announced;"
        ),
        tests="tests/backends/postgres/test_signals.py by_itself",
    ),
    _code(
        name="postgres: each change is announced by itself",
        pitfall="B5",
        text="payloads(self._origin, outgoing), pool",
        replacement="[text for one in outgoing for text in payloads(self._origin, {one})], pool",
        tests="tests/backends/postgres/test_signals.py announced_together",
    ),
    _code(
        name="postgres: who cannot listen does not look",
        pitfall="B6",
        text="        self._looked = loop.time()\n        return None\n",
        replacement="        self._looked = loop.time()\n        return frozenset()\n",
        tests="tests/backends/postgres/test_signals.py at_rest",
    ),
    _sql(
        name="postgres: nobody tells an owner of its mail",
        pitfall="B6",
        text="    from romancy_instances\n    where owner = $1 and signals <> seen\n",
        replacement="    from romancy_instances\n    where owner = $1 and signals < seen\n",
        tests="test_inbox.py owner_gets",
    ),
    _sql(
        name="postgres: an end does not look at the inbox",
        pitfall="B8",
        text="(item.instance_id, item.seen) in (select instance_id, signals from held))",
        replacement="item.instance_id in (select instance_id from held))",
        tests="test_interleavings.py end",
    ),
    _sql(
        name="postgres: mail outlives its instance",
        pitfall="B8",
        text="    delete from romancy_inbox x using doomed where x.instance_id = doomed.instance_id\n",
        replacement="    delete from romancy_inbox x using doomed where x.instance_id = doomed.instance_id and false\n",
        times=2,
        tests="test_prune.py new_life",
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
        name="postgres: the dead take others over",
        pitfall="D1",
        text="where asking.token = $1 and not asking.dead and dead.token = $2",
        replacement="where asking.token = $1 and dead.token = $2",
        tests="test_leases.py dead_worker_takes",
    ),
    _sql(
        name="postgres: every crash counts",
        pitfall="D3",
        text="crashes = case when i.crash_seq = logged.seq - 1 then i.crashes + 1 else 1 end,",
        replacement="crashes = i.crashes + 1,",
        tests="test_leases.py crashes_count",
    ),
    _sql(
        name="postgres: code that refused gets it again",
        pitfall="D4",
        text="          and known.code <> all (i.refused)\n          and (i.code",
        replacement="          and (i.code",
        tests="test_claims.py fitting_code",
    ),
    _sql(
        name="postgres: code of live workers is taken at once",
        pitfall="D4",
        text="or i.wake_at <= clock.now - $6::bigint)",
        replacement="or i.wake_at <= clock.now - 0 * $6::bigint)",
        tests="test_claims.py left_to_them",
    ),
    _code(
        name="postgres: a newer schema is as good as one's own",
        pitfall="D5",
        text="    if version > newest:\n",
        replacement="    if version > newest + 1_000_000:\n",
        tests="test_opening.py newer_schema",
    ),
    _sql(
        name="postgres: work is given to who does not know it",
        pitfall="D6",
        text="where i.workflow_name = known.name and i.wake_at <= clock.now\n",
        replacement="where i.workflow_name <> known.name || 'x' and i.wake_at <= clock.now\n",
        tests="test_claims.py only_known",
    ),
    _code(
        name="postgres: an index hides what was started before it",
        pitfall="E",
        text="_undeclared(others, named=",
        replacement="_undeclared([], named=",
        tests="test_find.py declared_later",
    ),
    _code(
        name="postgres: blanks and signs stand for anything",
        pitfall="E",
        text="f\"strpos(i.instance_id, {arguments.bind(query.instance_id, 'text')}) > 0\"",
        replacement="f\"i.instance_id like '%' || {arguments.bind(query.instance_id, 'text')} || '%'\"",
        tests="test_find.py byte_for_byte",
    ),
    _code(
        name="postgres: pages overlap",
        pitfall="E",
        text='{table}.instance_id) < ({place})"',
        replacement='{table}.instance_id) <= ({place})"',
        tests="test_find.py walking",
    ),
    _code(
        name="postgres: statistics choose the way to a status",
        pitfall="E",
        text='order = f"{split[0]}, " if len(split) == len(columns) == 1 else ""',
        replacement='order = ""',
        tests="tests/backends/postgres/test_plans.py statistics_do_not",
    ),
)
