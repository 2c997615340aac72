"""Mends of the SQLite adapter."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["MUTATIONS"]

_sql = partial(Mutation, file="backends/romancy_sqlite/*.sql")
_code = partial(Mutation, file="backends/romancy_sqlite/*.py")

MUTATIONS = (
    _code(
        name="sqlite: an instance may be twice in a batch",
        pitfall="A1",
        text="        check_batch(batch, worker)\n        if not batch:",
        replacement="        if not batch:",
        tests="test_log.py misuse",
    ),
    _code(
        name="sqlite: one's own nonce is a stranger's",
        pitfall="A2",
        text="return Outcome.ACCEPTED if held[0] == item.writer else Outcome.TAKEN",
        replacement="return Outcome.TAKEN",
        tests="test_log.py sent_again",
    ),
    _code(
        name="sqlite: any nonce is one's own",
        pitfall="A2",
        text="return Outcome.ACCEPTED if held[0] == item.writer else Outcome.TAKEN",
        replacement="return Outcome.ACCEPTED",
        tests="test_log.py taken_seq or another_nonce",
    ),
    _code(
        name="sqlite: a COMMIT that failed half way was none",
        pitfall="A3",
        text="            raise OutcomeUnknownError(",
        replacement="            raise StorageUnavailableError(",
        tests="tests/backends/sqlite/test_disk.py",
    ),
    _sql(
        name="sqlite: the writer's row is not asked",
        pitfall="A4",
        text="where exists (select 1 from romancy_workers where token = ? and dead = 0)",
        replacement="where exists (select 1 from romancy_workers where token = ?)",
        tests="test_log.py dead_worker or thaw",
    ),
    _code(
        name="sqlite: a former life reaches the new one",
        pitfall="A4",
        text="if held is None or held[0] != item.life:",
        replacement="if held is None:",
        tests="test_log.py former_life",
    ),
    _code(
        name="sqlite: user code ends the session's transaction",
        pitfall="A8",
        text="        elif action == _TRANSACTION or (action == _SAVEPOINT",
        replacement="        elif (action == _SAVEPOINT",
        tests="tests/backends/sqlite/test_sessions.py nobody_but_romancy",
    ),
    _code(
        name="sqlite: the event loop waits for a session of its own process",
        pitfall="A8",
        text="        return self._gate.acquire(blocking=False)\n\n    def changed",
        replacement="        return self._gate.acquire(blocking=True)\n\n    def changed",
        tests="tests/backends/sqlite/test_writer.py session_of_its_own",
    ),
    _code(
        name="sqlite: the event loop waits for other programs",
        pitfall="A8",
        text="sqlite3.connect(str(path), timeout=0, ",
        replacement="sqlite3.connect(str(path), timeout=5, ",
        tests="tests/backends/sqlite/test_writer.py another_program",
    ),
    _sql(
        name="sqlite: a session's commit is no sign of life",
        pitfall="A8",
        text="update romancy_workers set beat = beat + 1, beat_at = ? where token = ? and dead = 0;",
        replacement="update romancy_workers set beat = beat + 0, beat_at = ? where token = ? and dead = 0;",
        tests="tests/backends/sqlite/test_sessions.py commit_is_a_beat",
    ),
    _code(
        name="sqlite: a session is held for ever",
        pitfall="A8",
        text="self._requests.get(timeout=max(0.0, deadline - time.monotonic()))",
        replacement="self._requests.get()",
        tests="tests/backends/sqlite/test_sessions.py held_for_too_long",
    ),
    _code(
        name="sqlite: a swallowed failure is committed",
        pitfall="A9",
        text="            self._doomed = True\n",
        replacement="            self._doomed = False\n",
        tests="test_sessions.py swallowed",
    ),
    _sql(
        name="sqlite: a claim tells a former head",
        pitfall="A11",
        text=(
            "            select max(seq) from romancy_log as log\n"
            "            where log.instance_id = instance.instance_id"
        ),
        replacement=(
            "            select min(seq) from romancy_log as log\n"
            "            where log.instance_id = instance.instance_id"
        ),
        tests="test_claims.py recovering",
    ),
    _sql(
        name="sqlite: a run that continues keeps its start",
        pitfall="A14",
        text="    run_from = :run_from,\n",
        replacement="    run_from = run_from + 0 * :run_from,\n",
        tests="test_claims.py continues",
    ),
    _code(
        name="sqlite: a refused value takes its neighbours along",
        pitfall="A12",
        text="        if not is_item_fault(error):\n            raise\n        tx.run",
        replacement="        raise\n        tx.run",
        tests="test_neighbours.py value",
    ),
    _code(
        name="sqlite: what is refused after its row is written leaves it there",
        pitfall="A1",
        text="        raise _RefusedError(refusal)\n",
        replacement="        return refusal\n",
        tests="test_inbox.py unseen",
    ),
    _code(
        name="sqlite: a hopeful batch keeps what it should undo",
        pitfall="A12",
        text="            if isinstance(guilty.error, UndoError) and not guilty.careful:\n",
        replacement="            if guilty.careful:\n",
        tests="test_neighbours.py value",
    ),
    _sql(
        name="sqlite: a release does not look at the counter",
        pitfall="B1",
        text="when signals = :seen then :wake_at else :now end",
        replacement="else :wake_at end",
        tests="test_inbox.py missed",
    ),
    _sql(
        name="sqlite: in a batch a release does not look at the counter",
        pitfall="B1",
        text="when signals = column5 then column8 else ? end",
        replacement="when signals <> -1 then column8 else ? end",
        tests="test_batches.py sleeps_only",
    ),
    _sql(
        name="sqlite: in a batch an end does not look at the counter",
        pitfall="B1",
        text=" and (not column3 or signals = column5);",
        replacement=" and column3 is not null;",
        tests="test_batches.py unseen_mail",
    ),
    _sql(
        name="sqlite: in a batch a former life reaches the new one",
        pitfall="A4",
        text="where instance_id = column1 and life = column2 and",
        replacement="where instance_id = column1 and",
        tests="test_batches.py former_life",
    ),
    _sql(
        name="sqlite: in a batch the writer's row is not asked",
        pitfall="A4",
        text="where column1 is not null and exists (select 1 from romancy_workers where token = ? and dead = 0);",
        replacement="where column1 is not null and ? is not null;",
        tests="test_batches.py dead_worker",
    ),
    _code(
        name="sqlite: in a batch nobody counts what was written",
        pitfall="A1",
        text="    if written != wanted:\n        raise UndoError\n",
        replacement="    assert written <= wanted\n",
        tests="test_batches.py refused",
    ),
    _code(
        name="sqlite: in a batch the dead begin instances",
        pitfall="A4",
        text='        if tx.row("worker_alive", (owner,)) is None:\n            raise UndoError\n',
        replacement='        tx.row("worker_alive", (owner,))\n',
        tests="test_batches.py dead_owner",
    ),
    _sql(
        name="sqlite: a delivery does not move the counter",
        pitfall="B1",
        text="    signals = signals + 1,\n",
        replacement="    signals = signals,\n",
        tests="test_interleavings.py delivery",
    ),
    _code(
        name="sqlite: a dedupe key is forgotten with its message",
        pitfall="B3",
        text="if delivery.dedupe is not None and tx.row(",
        replacement="if delivery.dedupe == '' and tx.row(",
        tests="test_inbox.py dedupe_key",
    ),
    _sql(
        name="sqlite: nobody tells an owner of its mail",
        pitfall="B6",
        text="where owner = :worker and signals <> seen\nunion all",
        replacement="where owner = :worker and signals < seen\nunion all",
        tests="test_inbox.py owner_gets",
    ),
    _code(
        name="sqlite: nobody looks at what other processes commit",
        pitfall="B6",
        text="                self._look()\n",
        replacement="",
        tests="tests/backends/sqlite/test_watch.py another_process",
    ),
    _code(
        name="sqlite: the ended take mail",
        pitfall="B8",
        text="    if held[0] in TERMINAL_STATUSES:\n        return Delivered.CLOSED\n",
        replacement="",
        tests="test_inbox.py takes_no_mail",
    ),
    _code(
        name="sqlite: an end does not look at the inbox",
        pitfall="B8",
        text="if item.change.status in TERMINAL_STATUSES and held[1] != item.change.seen:",
        replacement="if item.change.status in TERMINAL_STATUSES and held[1] < 0:",
        tests="test_inbox.py unseen",
    ),
    _code(
        name="sqlite: who beats is taken over all the same",
        pitfall="D1",
        text="    if not held[0] and held[1] != dead.beat:\n        return Takeover(refused=True)\n",
        replacement="",
        tests="test_leases.py beat_meanwhile",
    ),
    _code(
        name="sqlite: the dead take others over",
        pitfall="D1",
        text='    if tx.row("worker_alive", (worker,)) is None or held is None:\n        return Takeover',
        replacement="    if held is None:\n        return Takeover",
        tests="test_leases.py dead_worker_takes",
    ),
    _sql(
        name="sqlite: every crash counts",
        pitfall="D3",
        text="crashes = case when crash_seq = :head - 1 then crashes + 1 else 1 end",
        replacement="crashes = crashes + 1",
        tests="test_leases.py crashes_count",
    ),
    _sql(
        name="sqlite: code that refused gets it again",
        pitfall="D4",
        text="            candidate.refused = '[]'\n            or",
        replacement="            candidate.refused <> ''\n            or",
        tests="test_claims.py fitting_code",
    ),
    _sql(
        name="sqlite: code of live workers is taken at once",
        pitfall="D4",
        text="            candidate.wake_at <= :left\n",
        replacement="            candidate.wake_at <= :now + 0 * :left\n",
        tests="test_claims.py left_to_them",
    ),
    _code(
        name="sqlite: a newer schema is as good as one's own",
        pitfall="D5",
        text="    unknown = sorted(applied - files)\n    if unknown:\n",
        replacement="    unknown = sorted(applied - files)\n    if not unknown and files is None:\n",
        tests="test_opening.py newer_schema",
    ),
    _sql(
        name="sqlite: work is given to who does not know it",
        pitfall="D6",
        text="        candidate.workflow_name = known.key\n",
        replacement="        candidate.workflow_name <> known.key || 'x'\n",
        tests="test_claims.py only_known",
    ),
    _code(
        name="sqlite: case does not count",
        pitfall="E",
        text='parts.append(("instr(i.instance_id, ?) > 0", [query.instance_id]))',
        replacement="parts.append((\"i.instance_id like '%' || ? || '%'\", [query.instance_id]))",
        tests="test_find.py byte_for_byte",
    ),
    _code(
        name="sqlite: an index hides what was started before it",
        pitfall="E",
        text='*_each(tx, query, "find_by_set", "find_by_sets", others, rest),',
        replacement="",
        tests="test_find.py declared_later",
    ),
    _code(
        name="sqlite: pages continue by time alone",
        pitfall="E",
        text='"(i.created_at, i.instance_id) < (?, ?)"',
        replacement='"(i.created_at, ?2) < (?1, ?2)"',
        tests="test_find.py walking",
    ),
)
