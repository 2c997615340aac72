"""Faults in claims that the walk has to notice, or a test: each gives a plausible answer, and seldom a wrong one."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from tools.mutations.playing import Mutation

__all__ = ["MUTATIONS"]

_postgres = partial(
    Mutation, pitfall="walk", file="backends/romancy_postgres/*.sql", tests="walking/test_walk.py long_walks"
)
_sqlite = partial(
    Mutation, pitfall="walk", file="backends/romancy_sqlite/*.sql", tests="walking/test_walk.py long_walks"
)
_mysql = partial(Mutation, pitfall="walk", file="backends/romancy_mysql/*.sql", tests="walking/test_walk.py long_walks")

_POSTGRES = (
    _postgres(
        name="postgres: a dead worker is told what it owns",
        text="where $7::boolean and owner = $1 and exists (select from alive)",
        replacement="where $7::boolean and owner = $1",
    ),
    _postgres(
        name="postgres: a claim takes the longest due only within a workflow",
        text="    order by rank, d.instance_id\n",
        replacement="    order by d.instance_id\n",
    ),
    _postgres(
        name="postgres: a claim reads the head of a log from the row only",
        text="greatest(i.last_seq, (select max(seq) from romancy_log l\n"
        + 56 * " "
        + "where l.instance_id = i.instance_id and l.life = i.life))",
        replacement="i.last_seq",
    ),
    _postgres(
        name="postgres: mail that is kept stays away when the counter fell",
        text="case when k.number > i.signals then 0 end",
        replacement="null",
        tests="test_new_mail.py gone_back",
    ),
    _postgres(
        name="postgres: an instance that is left to another code is never claimed",
        text="and (i.code <> all ($5::text[]) or i.wake_at <= clock.now - $6::bigint)",
        replacement="and (i.code <> all ($5::text[]) or i.wake_at <= $6::bigint - clock.now)",
        times=2,
    ),
    _postgres(
        name="postgres: the next due instance is forgotten behind eight that are refused",
        text="case when count(*) = 8 then greatest(max(a.wake_at), clock.now + 1000000) end",
        replacement="null::bigint",
    ),
    _postgres(
        name="postgres: a dead worker's sweep wakes instances",
        text="    )\n  and exists (select from romancy_workers where token = $1 and not dead)"
        "\nreturning i.instance_id;",
        replacement="    )\nreturning i.instance_id;",
    ),
    _postgres(
        name="postgres: a claim leaves the instance due",
        text="set owner = $1, wake_at = null\n",
        replacement="set owner = $1\n",
    ),
)
_SQLITE = (
    _sqlite(
        name="sqlite: a dead worker claims, recovers and sweeps",
        text="    exists (select 1 from romancy_workers where token = :worker and dead = 0),\n",
        replacement="    exists (select 1 from romancy_workers where token = :worker),\n",
    ),
    _sqlite(
        name="sqlite: a claim takes the longest due only within a workflow",
        text="order by instance.wake_at - instance.priority * {ahead}, instance.instance_id\nlimit :limit;",
        replacement="order by instance.instance_id\nlimit :limit;",
    ),
    _sqlite(
        name="sqlite: a claim reads the head of a log from the row only",
        text="        max(last_seq, coalesce((\n            select max(seq) from romancy_log as log\n"
        "            where log.instance_id = instance.instance_id and log.life = instance.life"
        "\n        ), 0)) as head\n",
        replacement="        last_seq as head\n",
    ),
    _sqlite(
        name="sqlite: mail that is kept stays away when the counter fell",
        text="iif(kept.value <= owned.signals, kept.value, 0)",
        replacement="coalesce(kept.value, 0)",
        tests="test_new_mail.py gone_back",
    ),
    _sqlite(
        name="sqlite: an instance that is left to another code is never claimed",
        text="candidate.wake_at <= :now - :grace\n",
        replacement="candidate.wake_at <= :grace - :now\n",
    ),
    _sqlite(
        name="sqlite: a claim leaves the instance due",
        text="update romancy_instances set owner = :worker, wake_at = null, fair_line = ''\nwhere",
        replacement="update romancy_instances set owner = :worker where",
    ),
)
_MYSQL = (
    _mysql(
        name="mysql: a dead worker recovers and sweeps",
        text="select 1 from romancy_workers where token = :worker and dead = 0",
        replacement="select 1 from romancy_workers where token = :worker",
    ),
    _mysql(
        name="mysql: a claim takes any due instances of a workflow",
        text="order by i.wake_at\nlimit :limit\nfor update skip locked)",
        replacement="order by i.wake_at desc\nlimit :limit\nfor update skip locked)",
    ),
    _mysql(
        name="mysql: a claim reads the head of a log from the row only",
        text="    greatest(i.last_seq, coalesce((\n        select l.seq from romancy_log l"
        " where l.instance_id = i.instance_id and l.life = i.life\n"
        "        order by l.instance_id desc, l.life desc, l.seq desc limit 1\n    ), 0)),\n",
        replacement="    i.last_seq,\n",
    ),
    _mysql(
        name="mysql: mail that is kept stays away when the counter fell",
        text="if(:number > i.signals, 0, :number)",
        replacement=":number",
        tests="test_new_mail.py gone_back",
    ),
    _mysql(
        name="mysql: an instance that is left to another code is never claimed",
        text="utc_timestamp(6)) - :grace)\norder by i.wake_at",
        replacement="utc_timestamp(6)) * 0 - :grace)\norder by i.wake_at",
    ),
    _mysql(
        name="mysql: a claim leaves the instance due",
        text="set i.owner = :worker, i.wake_at = null, i.fair_line = ''\n",
        replacement="set i.owner = :worker\n",
    ),
)
_MARIADB = tuple(replace(one, name=one.name.replace("mysql:", "mariadb:", 1)) for one in _MYSQL)
MUTATIONS = (*_SQLITE, *_POSTGRES, *_MYSQL, *_MARIADB)
