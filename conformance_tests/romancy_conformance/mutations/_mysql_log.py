"""Mends of the adapter for MySQL and MariaDB: the log, its locks, and what a batch may hold."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["OF_THE_LOG"]

_sql = partial(Mutation, file="backends/romancy_mysql/*.sql")
_python = partial(Mutation, file="backends/romancy_mysql/*.py")
_HEAD = (
    "greatest(i.last_seq, coalesce((\n"
    "        select max(l.seq) from romancy_log l where l.instance_id = i.instance_id and l.life = i.life\n"
    "    ), 0))"
)

OF_THE_LOG = (
    _python(
        name="mysql: an instance may be twice in a batch",
        pitfall="A1",
        text="check_batch(batch, worker)\n",
        replacement="\n",
        tests="test_log.py misuse",
    ),
    _python(
        name="mysql: any nonce is one's own",
        pitfall="A2",
        text="return Outcome.ACCEPTED if writer == item.writer else Outcome.TAKEN",
        replacement="return Outcome.ACCEPTED",
        tests="test_log.py taken_seq or another_nonce",
    ),
    _python(
        name="mysql: one's own nonce is a stranger's",
        pitfall="A2",
        text="return Outcome.ACCEPTED if writer == item.writer else Outcome.TAKEN",
        replacement="return Outcome.TAKEN",
        tests="test_log.py sent_again",
    ),
    _python(
        name="mysql: a COMMIT without an answer was none",
        pitfall="A3",
        text="raise OutcomeUnknownError(",
        replacement="raise StorageUnavailableError(",
        tests="fire/test_wire.py tombstone",
    ),
    _sql(
        name="mysql: the writer's row is not asked for one row",
        pitfall="A4",
        text="dead or unknown.\nfrom romancy_workers where token = :token and dead = 0",
        replacement="dead or unknown.\nfrom romancy_workers where token = :token",
        tests="test_log.py dead_worker or thaw",
    ),
    _sql(
        name="mysql: the writer's row is not asked for several",
        pitfall="A4",
        text="(select :writer from romancy_workers where token = :token and dead = 0)",
        replacement="(select :writer from romancy_workers where token = :token)",
        tests="test_log.py dead_worker_cannot_write_a_batch",
    ),
    _sql(
        name="mysql: whatever stands before will do",
        pitfall="A4",
        text="and p.writer = :known",
        replacement="and :known is not null",
        tests="test_fence.py predecessor_is_not",
    ),
    _sql(
        name="mysql: a former life reaches the new one",
        pitfall="A4",
        text="and i.life = :life and (not :ends",
        replacement="and (not :ends",
        tests="test_log.py former_life",
    ),
    _python(
        name="mysql: a takeover takes all at once",
        pitfall="A5",
        text="if one.instance_id not in held][:limit]",
        replacement="if one.instance_id not in held]",
        tests="test_leases.py no_more_at_once",
    ),
    _python(
        name="mysql: a lock is waited for as long as it takes",
        pitfall="A5",
        text="innodb_lock_wait_timeout = 1, ",
        replacement="innodb_lock_wait_timeout = 60, ",
        tests="test_neighbours.py keeps_no_neighbour",
    ),
    _python(
        name="mysql: a session stands idle for ever",
        pitfall="A5",
        text="wait_timeout = {idle}{more}; ",
        replacement="wait_timeout = 60{idle}{more}; ",
        tests="tests/backends/mysql/test_sessions.py sleeps",
        waits=True,
    ),
    _python(
        name="mysql: pruning knows no limit",
        pitfall="A5",
        text="for line in answer.rows))[: request.limit]\n",
        replacement="for line in answer.rows))\n",
        tests="test_prune.py limit",
    ),
    _python(
        name="mysql: all old dedupe keys are forgotten at once",
        pitfall="A5",
        text="_KEYS_AT_ONCE = 5000\n",
        replacement="_KEYS_AT_ONCE = 5_000_000\n",
        tests="test_prune.py portions",
    ),
    _sql(
        name="mysql: one frozen row holds up all others",
        pitfall="A5",
        text="where instance_id in (:ids) for update skip locked\n",
        replacement="where instance_id in (:ids) for update\n",
        tests="test_neighbours.py frozen",
    ),
    _python(
        name="mysql: one locked instance stops a takeover",
        pitfall="A5",
        text="                held |= await self._held(dead.token, chunk)\n",
        replacement="                return Takeover(left=True)\n",
        tests="test_neighbours.py takeover",
    ),
    _python(
        name="mysql: a frozen row freezes its batch",
        pitfall="A5",
        text="                await self._apart(todo)\n                return\n",
        replacement="                self._outcomes |= {item.instance_id: Outcome.LOCKED for item in todo}\n"
        "                return\n",
        tests="test_neighbours.py keeps_no_neighbour",
    ),
    Mutation(
        name="mysql: mail for a locked instance is kept waiting",
        pitfall="A5",
        file="backends/romancy_mysql/_inbox.py",
        text="_LOCK_WAITS = 3\n",
        replacement="_LOCK_WAITS = 12\n",
        tests="test_neighbours.py answered_soon",
    ),
    _sql(
        name="mysql: what is owned is told again where nobody holds it",
        pitfall="A5",
        text="where i.owner = :worker)",
        replacement="where i.owner = :worker for update skip locked)",
        tests="test_neighbours.py told_again",
    ),
    _sql(
        name="mysql: a claim waits for what others hold",
        pitfall="A5",
        text="order by i.wake_at\nlimit :limit\nfor update skip locked)",
        replacement="order by i.wake_at\nlimit :limit\nfor update)",
        tests="test_neighbours.py just_being_written",
    ),
    _sql(
        name="mysql: what does not fit is cut to size and called accepted",
        pitfall="A6",
        text="insert into romancy_log (instance_id, life, seq, writer, body) :rows\n"
        "on duplicate key update seq = romancy_log.seq",
        replacement="insert ignore into romancy_log (instance_id, life, seq, writer, body) :rows",
        tests="test_values.py too_long",
    ),
    _python(
        name="mysql: a session without strict mode",
        pitfall="A6",
        text="ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,",
        replacement="ONLY_FULL_GROUP_BY,",
        tests="test_values.py too_long",
    ),
    _python(
        name="mysql: rows that were found count as changed",
        pitfall="A6",
        text="        if self._connection.client_flag & CLIENT.FOUND_ROWS:\n",
        replacement="        if self._connection.client_flag & CLIENT.FOUND_ROWS and self is None:\n",
        tests="tests/backends/mysql/test_joined.py found_rows",
    ),
    _sql(
        name="mysql: an owner changes without its log row",
        pitfall="A10",
        text="    i.crash_seq = :head + 1,\n    i.last_seq = :head + 1,",
        replacement="    i.crash_seq = :head,\n    i.last_seq = :head,",
        tests="test_leases.py",
    ),
    _python(
        name="mysql: a takeover does not count its log rows",
        pitfall="A10",
        text='"append_log", rows=as_select(lines), expected=len(chunk))',
        replacement='"append_log", rows=as_select(lines))',
        tests="test_interleavings.py owner_changes or takeover_held",
    ),
    _sql(
        name="mysql: a claim tells a former head",
        pitfall="A11",
        text=_HEAD,
        replacement="i.last_seq",
        tests="test_claims.py recovering",
    ),
    _python(
        name="mysql: a refused value takes its neighbours along",
        pitfall="A12",
        text="                await self._bisect(todo)\n",
        replacement="                raise\n",
        tests="test_neighbours.py value",
    ),
    Mutation(
        name="mysql: a batch of any size is one statement",
        pitfall="A12",
        file="backends/romancy_mysql/_commit.py",
        text="_BATCH_BYTES = 3 * 1024 * 1024\n",
        replacement="_BATCH_BYTES = 300 * 1024 * 1024\n",
        tests="test_values.py batch_of_large",
    ),
    Mutation(
        name="mysql: mail of any size is one transaction",
        pitfall="A12",
        file="backends/romancy_mysql/_inbox.py",
        text="_BATCH_BYTES = 3 * 1024 * 1024\n",
        replacement="_BATCH_BYTES = 300 * 1024 * 1024\n",
        tests="tests/backends/mysql/test_sizes.py much_mail",
    ),
    _python(
        name="mysql: what one item sends is one statement",
        pitfall="A12",
        text="_STATEMENT_BYTES = 3 * 1024 * 1024\n",
        replacement="_STATEMENT_BYTES = 300 * 1024 * 1024\n",
        tests="tests/backends/mysql/test_sizes.py one_item",
    ),
    _sql(
        name="mysql: a run that continues keeps its start",
        pitfall="A14",
        text="i.run_from = coalesce(:run_from, i.run_from)",
        replacement="i.run_from = i.run_from",
        tests="test_claims.py continues",
    ),
)
