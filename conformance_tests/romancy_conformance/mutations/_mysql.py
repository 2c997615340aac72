"""Mends of the adapter for MySQL and MariaDB."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from romancy_conformance.mutations._mutation import Mutation
from romancy_conformance.mutations._mysql_log import OF_THE_LOG

__all__ = ["MUTATIONS"]

_sql = partial(Mutation, file="backends/romancy_mysql/*.sql")
_python = partial(Mutation, file="backends/romancy_mysql/*.py")
_NOW = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))"

_OF_SESSIONS = (
    _python(
        name="mysql: a deadlock reaches the caller",
        pitfall="A7",
        text="_TRANSIENT = frozenset({1213, ",
        replacement="_TRANSIENT = frozenset({",
        tests="tests/backends/mysql/test_deadlocks.py loses_a_deadlock",
    ),
    _python(
        name="mysql: who loses a deadlock gives up",
        pitfall="A7",
        text="_TRIES = 10\n",
        replacement="_TRIES = 1\n",
        tests="tests/backends/mysql/test_deadlocks.py loses_a_deadlock",
    ),
    _python(
        name="mysql: two statements lock rows in two orders",
        pitfall="A7",
        text="        if changed and receivers and not self._session:\n",
        replacement="        if changed and receivers and self._session is None:\n",
        tests="tests/backends/mysql/test_deadlocks.py make_no_deadlock",
    ),
    _python(
        name="mysql: what the driver raises is always the user's fault",
        pitfall="A7",
        text="            return None\n        return self._explained(error)\n",
        replacement="            return None\n        return None\n",
        tests="tests/backends/mysql/test_excuses.py whatever_raised_them",
    ),
    _python(
        name="mysql: a session locks the rows of others",
        pitfall="A7",
        text="        if self._session:\n            yield from self._insert(",
        replacement="        if self._session:\n"
        "            yield from self._signals([one.instance_id for one in mail], counted=True)\n"
        "            yield from self._insert(",
        tests="test_sessions.py holds_up_nobody",
    ),
    _sql(
        name="mysql: uncounted mail of sessions is nobody's",
        pitfall="A7",
        text=f"where u.at < {_NOW} - :age",
        replacement=f"where u.at < {_NOW} - 1000000 * :age",
        tests="test_neighbours.py nobody_counted",
        waits=True,
    ),
    _python(
        name="mysql: a swallowed failure is committed",
        pitfall="A9",
        text="self.failed = self.failed or not self._ours",
        replacement="self.failed = self.failed and not self._ours",
        times=2,
        tests="test_sessions.py swallowed",
    ),
    _python(
        name="mysql: a session ended by user code is committed",
        pitfall="A9",
        text='READING.encode() + b"; release savepoint romancy_session"',
        replacement="READING.encode()",
        tests="test_sessions.py agree or ddl",
    ),
)

_OF_MAIL = (
    _sql(
        name="mysql: mail outlives its instance",
        pitfall="B8",
        text="delete from romancy_inbox where instance_id in (:ids)\n",
        replacement="delete from romancy_inbox where instance_id in (:ids) and false\n",
        tests="test_prune.py new_life",
    ),
    _sql(
        name="mysql: a release does not look at the counter",
        pitfall="B1",
        text=f"if(:sleeps, if(i.signals = :seen, :wake_at, {_NOW}), null)",
        replacement="if(:sleeps, :wake_at, null)",
        tests="test_inbox.py missed",
    ),
    _sql(
        name="mysql: a delivery does not move the counter",
        pitfall="B1",
        text="    i.signals = i.signals + :count,\n",
        replacement="    i.seen = i.seen - 0 * :count,\n",
        tests="test_interleavings.py delivery_and_a_release or release_held",
    ),
    _python(
        name="mysql: a dedupe key is forgotten with its message",
        pitfall="B3",
        text='        yield from self._insert("add_seen", [row(key) for key in keys])\n',
        replacement="        keys.clear()\n",
        tests="test_inbox.py dedupe_key",
    ),
    _sql(
        name="mysql: nobody tells an owner of its mail",
        pitfall="B6",
        text="where i.mail_for = :worker)",
        replacement="where i.mail_for = concat(:worker, 'x'))",
        tests="test_inbox.py owner_gets",
    ),
    _python(
        name="mysql: nobody looks at what other processes commit",
        pitfall="B6",
        text="        elif fresh:\n            self._hear(fresh)\n",
        replacement="        elif fresh and everything:\n            self._hear(fresh)\n",
        tests="tests/backends/mysql/test_waiting.py start_elsewhere",
    ),
    _python(
        name="mysql: a look that found much is followed at once",
        pitfall="B6",
        text="        self._quickest = max(_QUICKEST, len(found) * _PER_ROW)\n",
        replacement="",
        tests="tests/backends/mysql/test_waiting.py finds_much",
    ),
    _sql(
        name="mysql: mail is of no time",
        pitfall="B7",
        text="select instance_id, delivery_id, body, at from romancy_inbox where",
        replacement="select instance_id, delivery_id, body, 0 from romancy_inbox where",
        tests="test_inbox.py bears_the_time",
    ),
    _sql(
        name="mysql: an end does not look at the inbox",
        pitfall="B8",
        text=" and (not :ends or i.signals = :seen)",
        replacement="",
        tests="test_interleavings.py end",
    ),
    _sql(
        name="mysql: the ended take mail",
        pitfall="B8",
        text="where i.instance_id = :instance_id and i.status not in (:closed)",
        replacement="where i.instance_id = :instance_id",
        tests="test_interleavings.py end",
    ),
)

_OF_LEASES = (
    _sql(
        name="mysql: who beats is taken over all the same",
        pitfall="D1",
        text="where d.token = :dead and d.dead = 0 and d.beat = :beat",
        replacement="where d.token = :dead and d.dead = 0 and d.beat >= 0 * :beat",
        tests="test_leases.py beat_meanwhile",
    ),
    _sql(
        name="mysql: the dead take others over",
        pitfall="D1",
        text="join romancy_workers w on w.token = :worker and w.dead = 0\nset d.dead = 1",
        replacement="join romancy_workers w on w.token = :worker\nset d.dead = 1",
        tests="test_leases.py dead_worker_takes",
    ),
    _sql(
        name="mysql: every crash counts",
        pitfall="D3",
        text="i.crashes = if(i.crash_seq = :head, i.crashes + 1, 1)",
        replacement="i.crashes = i.crashes + 1",
        tests="test_leases.py crashes_count",
    ),
    _sql(
        name="mysql: code that refused gets it again",
        pitfall="D4",
        text="    and locate(:code, concat('\\n', coalesce(i.refused, ''), '\\n')) = 0\n    and not (:leaves",
        replacement="    and not (:leaves",
        tests="test_claims.py fitting_code",
    ),
    _sql(
        name="mysql: code of live workers is taken at once",
        pitfall="D4",
        text="and not (:leaves and i.code in (:leave)",
        replacement="and not (not :leaves and i.code in (:leave)",
        tests="test_claims.py left_to_them",
    ),
    _sql(
        name="mysql: work is given to who does not know it",
        pitfall="D6",
        text="where i.workflow_name = :workflow_name\n    and i.wake_at <= ",
        replacement="where i.workflow_name <> concat(:workflow_name, 'x')\n    and i.wake_at <= ",
        tests="test_claims.py only_known",
    ),
    _python(
        name="mysql: several processes migrate at once",
        pitfall="D5",
        text='name = Text("romancy:" + hashlib',
        replacement='name = Text(f"romancy:{wire.thread_id()}:" + hashlib',
        tests="tests/backends/mysql/test_schema.py old_database",
    ),
    _python(
        name="mysql: a newer schema is as good as one's own",
        pitfall="D5",
        text="    if newest > migrations[-1].version:\n",
        replacement="    if newest > migrations[-1].version + 1_000_000:\n",
        tests="test_opening.py newer_schema",
    ),
)

_OF_SEARCHES = (
    _python(
        name="mysql: an index hides what was started before it",
        pitfall="E",
        text="others = [short for short, paths in sets.items() if not spellings & paths]",
        replacement="others: list[bytes] = []",
        tests="test_find.py declared_later",
    ),
    _python(
        name="mysql: pages continue by time alone",
        pitfall="E",
        text='b"%b.created_at <= %b and (',
        replacement='b"%b.created_at < %b and (',
        tests="test_find.py walking",
    ),
    _python(
        name="mysql: a page is put together from several moments",
        pitfall="E",
        text='_, _, *answers, _ = await database.ask(*moment, *selects, database.statement("end_moment"))',
        replacement="answers = [(await database.ask(one))[0] for one in selects if moment]",
        tests="test_find.py asked_status",
    ),
    _python(
        name="mysql: blanks and signs stand for anything",
        pitfall="E",
        text='yield b"locate(" + literal(query.instance_id) + b", %b.instance_id) > 0" % first',
        replacement="yield b\"%b.instance_id like concat('%%', \" % first + literal(query.instance_id) + b\", '%')\"",
        tests="test_find.py byte_for_byte",
    ),
    _python(
        name="mysql: case and accents do not count",
        pitfall="E",
        text='word = b"cast(json_unquote(json_extract(i.projection, " + path + b")) as binary)"',
        replacement='word = b"convert(json_unquote(json_extract(i.projection, " + path + b")) using utf8mb4)"',
        tests="test_find.py truth_table",
    ),
    _python(
        name="mysql: a quote ends a value",
        pitfall="E",
        text=""".replace(b"'", b"\\\\'")""",
        replacement="",
        tests="test_find.py from_outside or truth_table",
    ),
)

_MYSQL = (*OF_THE_LOG, *_OF_SESSIONS, *_OF_MAIL, *_OF_LEASES, *_OF_SEARCHES)
_OF_THE_SERVER = frozenset(
    {
        "mysql: a COMMIT without an answer was none",
        "mysql: the writer's row is not asked for one row",
        "mysql: the writer's row is not asked for several",
        "mysql: a lock is waited for as long as it takes",
        "mysql: a session stands idle for ever",
        "mysql: one locked instance stops a takeover",
        "mysql: a frozen row freezes its batch",
        "mysql: mail for a locked instance is kept waiting",
        "mysql: one frozen row holds up all others",
        "mysql: a claim waits for what others hold",
        "mysql: what is owned is told again where nobody holds it",
        "mysql: what does not fit is cut to size and called accepted",
        "mysql: a session without strict mode",
        "mysql: a takeover does not count its log rows",
        "mysql: a refused value takes its neighbours along",
        "mysql: a deadlock reaches the caller",
        "mysql: a session locks the rows of others",
        "mysql: a swallowed failure is committed",
        "mysql: a session ended by user code is committed",
        "mysql: a release does not look at the counter",
        "mysql: a delivery does not move the counter",
        "mysql: an end does not look at the inbox",
        "mysql: several processes migrate at once",
        "mysql: an index hides what was started before it",
        "mysql: pages continue by time alone",
        "mysql: a page is put together from several moments",
        "mysql: case and accents do not count",
        "mysql: a quote ends a value",
    }
)
"""Those whose mend rests on what a server locks, refuses or compares. Both are sent the same words, so each must be
asked; of the others one answer is enough."""
_MARIADB = tuple(
    replace(one, name=one.name.replace("mysql:", "mariadb:", 1)) for one in _MYSQL if one.name in _OF_THE_SERVER
)
MUTATIONS = (*_MYSQL, *_MARIADB)
