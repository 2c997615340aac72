"""The SQL of the adapter for MySQL and MariaDB: each mutation removes one fence."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from tools.mutations.playing import Mutation

__all__ = ["MUTATIONS"]

_mutation = partial(Mutation, file="backends/romancy_mysql/*.sql")

_NOW = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))"

_MYSQL = (
    _mutation(
        name="mysql: an append does not check that its writer is alive",
        pitfall="A4",
        text="utc_timestamp(6)) from romancy_workers where token = :token and dead = 0",
        replacement="utc_timestamp(6)) from romancy_workers where token = :token",
        tests="test_log.py dead_worker or thaw",
    ),
    _mutation(
        name="mysql: a batch does not check that its writer is alive",
        pitfall="A4",
        text="(select :writer from romancy_workers where token = :token and dead = 0)",
        replacement="(select :writer from romancy_workers where token = :token)",
        tests="test_log.py dead_worker_cannot_write_a_batch",
    ),
    _mutation(
        name="mysql: an append does not check its predecessor",
        pitfall="A4",
        text="and p.writer = :known",
        replacement="and :known is not null",
        tests="test_fence.py predecessor_is_not",
    ),
    _mutation(
        name="mysql: an append does not check the life of an instance",
        pitfall="A4",
        text="and i.life = :life and (not :ends",
        replacement="and (not :ends",
        tests="test_log.py former_life",
    ),
    _mutation(
        name="mysql: a batch waits for locked rows",
        pitfall="A5",
        text="where instance_id in (:ids) for update skip locked\n",
        replacement="where instance_id in (:ids) for update\n",
        tests="test_neighbours.py frozen",
    ),
    _mutation(
        name="mysql: a claim waits for locked rows",
        pitfall="A5",
        text="order by i.wake_at\nlimit :limit\nfor update skip locked)",
        replacement="order by i.wake_at\nlimit :limit\nfor update)",
        tests="test_neighbours.py just_being_written",
    ),
    _mutation(
        name="mysql: a value that is too long is cut",
        pitfall="A6",
        text="insert into romancy_log (instance_id, life, seq, writer, body, at) :rows"
        "\non duplicate key update seq = romancy_log.seq",
        replacement="insert ignore into romancy_log (instance_id, life, seq, writer, body, at) :rows",
        tests="test_values.py too_long",
    ),
    _mutation(
        name="mysql: a takeover changes the owner without a log row",
        pitfall="A10",
        text="    i.crash_seq = :head + 1,\n    i.last_seq = :head + 1,",
        replacement="    i.crash_seq = :head,\n    i.last_seq = :head,",
        tests="test_leases.py",
    ),
    _mutation(
        name="mysql: a release ignores unseen messages",
        pitfall="B1",
        text=f"if(:sleeps, if(i.signals = :seen, :wake_at, {_NOW}), null)",
        replacement="if(:sleeps, :wake_at, null)",
        tests="test_inbox.py missed",
    ),
    _mutation(
        name="mysql: a change of what nobody may own takes it from its owner",
        pitfall="D2",
        text=" and (:finds <> 2 or i.owner is null)",
        replacement="",
        tests="test_interleavings.py nobody_owns",
    ),
    _mutation(
        name="mysql: a delivery does not count its message",
        pitfall="B1",
        text="    i.signals = i.signals + :count,\n",
        replacement="    i.seen = i.seen - 0 * :count,\n",
        times=2,
        tests="test_interleavings.py delivery_and_a_release or release_held",
    ),
    _mutation(
        name="mysql: an end ignores unseen messages",
        pitfall="B8",
        text=" and (not :ends or i.signals = :seen)",
        replacement="",
        tests="test_interleavings.py end",
    ),
    _mutation(
        name="mysql: a worker with a heartbeat is taken over",
        pitfall="D1",
        text="where d.token = :dead and d.dead = 0 and d.beat = :beat",
        replacement="where d.token = :dead and d.dead = 0 and d.beat >= 0 * :beat",
        tests="test_leases.py beat_meanwhile",
    ),
    _mutation(
        name="mysql: a dead worker takes over another",
        pitfall="D1",
        text="join romancy_workers w on w.token = :worker and w.dead = 0\nset d.dead = 1",
        replacement="join romancy_workers w on w.token = :worker\nset d.dead = 1",
        tests="test_leases.py dead_worker_takes",
    ),
)
_LOCKED_BY_THE_SERVER = frozenset(
    {
        "mysql: an append does not check that its writer is alive",
        "mysql: a claim waits for locked rows",
        "mysql: a release ignores unseen messages",
        "mysql: a delivery does not count its message",
        "mysql: an end ignores unseen messages",
    }
)
"""The fences that rely on the locks of the server. MariaDB gets the same SQL, so only these run on it too."""
_MARIADB = tuple(
    replace(one, name=one.name.replace("mysql:", "mariadb:", 1)) for one in _MYSQL if one.name in _LOCKED_BY_THE_SERVER
)
MUTATIONS = (*_MYSQL, *_MARIADB)
