-- Claims, the mail that comes with them, the repairs of a sweep, heartbeats and takeovers.

-- name: alive (worker, codes) -> now, alive, turns
-- The time, whether the worker is alive, and whether any start that it could claim waits in the line of a fair key.
with recursive rung (priority) as (
    select max(priority) from romancy_instances where wake_at is not null and fair_line <> ''
    union all
    select (
        select max(priority) from romancy_instances
        where wake_at is not null and fair_line <> '' and priority < rung.priority
    )
    from rung
    where rung.priority is not null
)
select
    :now,
    exists (select 1 from romancy_workers where token = :worker and dead = 0),
    exists (
        select 1
        from rung
        cross join json_each(:codes) as known
        where exists (
            select 1 from romancy_instances
            where
                priority = rung.priority and workflow_name = known.key
                and wake_at is not null and fair_line <> ''
        )
    );

-- name: due (codes, leave, grace, limit) -> instance_id, wake_at
-- The instances that a worker could claim, by their ranks. Each workflow is read separately, so that none hides another,
-- and so is each priority that something waits with: of one priority, the longest due goes first.
with recursive rung (priority) as (
    select max(priority) from romancy_instances where wake_at is not null and fair_line = ''
    union all
    select (
        select max(priority) from romancy_instances
        where wake_at is not null and fair_line = '' and priority < rung.priority
    )
    from rung
    where rung.priority is not null
)
select instance.instance_id, instance.wake_at
from rung
cross join json_each(:codes) as known
cross join romancy_instances as instance on instance.rowid in (
    select candidate.rowid
    from romancy_instances as candidate
    where
        candidate.priority = rung.priority
        and candidate.workflow_name = known.key
        and candidate.fair_line = ''
        and candidate.wake_at <= :now
        and (
            candidate.wake_at <= :now - :grace
            or candidate.code not in (select value from json_each(:leave))
        )
        and (
            candidate.refused = '[]'
            or known.value not in (select value from json_each(candidate.refused))
        )
    order by candidate.wake_at
    limit :limit
)
order by instance.wake_at - instance.priority * {ahead}, instance.instance_id
limit :limit;

-- name: turn_priorities () -> priority
-- The priorities with which something waits.
with recursive plain (priority) as (
    select max(priority) from romancy_instances where wake_at is not null and fair_line = ''
    union all
    select (
        select max(priority) from romancy_instances
        where wake_at is not null and fair_line = '' and priority < plain.priority
    )
    from plain
    where plain.priority is not null
),
fair (priority) as (
    select max(priority) from romancy_instances where wake_at is not null and fair_line <> ''
    union all
    select (
        select max(priority) from romancy_instances
        where wake_at is not null and fair_line <> '' and priority < fair.priority
    )
    from fair
    where fair.priority is not null
)
select priority from plain where priority is not null
union
select priority from fair where priority is not null;

-- name: turn_of_keys (known(name, code), leave, grace, priority, low, below,
-- limit) -> workflow_name, fair_line, instance_id, wake_at
-- Of each of these workflows, the first due instances of some lines, in the order of the lines.
select instance.workflow_name, instance.fair_line, instance.instance_id, instance.wake_at
from json_each(:known) as known
cross join romancy_instances as instance on instance.rowid in (
    select waiting.rowid
    from romancy_instances as waiting
    where
        waiting.priority = :priority
        and waiting.workflow_name = json_extract(known.value, '$[0]')
        and waiting.fair_line <> ''
        and waiting.fair_line >= :low
        and waiting.fair_line < :below
        and waiting.wake_at <= :now
        and (
            waiting.wake_at <= :now - :grace
            or waiting.code not in (select value from json_each(:leave))
        )
        and (
            waiting.refused = '[]'
            or json_extract(known.value, '$[1]') not in (select value from json_each(waiting.refused))
        )
    order by waiting.fair_line, waiting.wake_at
    limit :limit
)
order by instance.workflow_name, instance.fair_line, instance.wake_at;

-- name: turn_of_none (known(name, code), leave, grace, priority,
-- limit) -> workflow_name, fair_line, instance_id, wake_at
-- The same of what waits in no line, the longest due first.
select instance.workflow_name, instance.fair_line, instance.instance_id, instance.wake_at
from json_each(:known) as known
cross join romancy_instances as instance on instance.rowid in (
    select waiting.rowid
    from romancy_instances as waiting
    where
        waiting.priority = :priority
        and waiting.workflow_name = json_extract(known.value, '$[0]')
        and waiting.fair_line = ''
        and waiting.wake_at <= :now
        and (
            waiting.wake_at <= :now - :grace
            or waiting.code not in (select value from json_each(:leave))
        )
        and (
            waiting.refused = '[]'
            or json_extract(known.value, '$[1]') not in (select value from json_each(waiting.refused))
        )
    order by waiting.wake_at
    limit :limit
);

-- name: next_due (names) -> due
-- When the next instance of the known workflows becomes due.
with recursive rung (priority) as (
    select max(priority) from romancy_instances where wake_at is not null and fair_line = ''
    union all
    select (
        select max(priority) from romancy_instances
        where wake_at is not null and fair_line = '' and priority < rung.priority
    )
    from rung
    where rung.priority is not null
)
select min((
    select min(wake_at)
    from romancy_instances
    where priority = rung.priority and workflow_name = known.value and wake_at is not null and fair_line = ''
))
from rung
cross join json_each(:names) as known;

-- name: take (worker, ids)
-- Make the instances the worker's.
update romancy_instances set owner = :worker, wake_at = null, fair_line = ''
where instance_id in (select value from json_each(:ids));

-- name: owned (owner) -> instance_id
-- All instances that a worker owns.
select instance_id from romancy_instances where owner = :owner order by instance_id;

-- name: taken (ids) -> instance_id, life, workflow_name, status, code, run_from, head, head_writer, signals, seen,
-- crashes, crash_seq
-- The columns of claimed instances.
select
    instance_id, life, workflow_name, status, code, run_from, head,
    (
        select writer from romancy_log as log
        where log.instance_id = found.instance_id and log.life = found.life and log.seq = found.head
    ),
    signals, seen, crashes, crash_seq
from (
    select
        instance.*,
        max(last_seq, coalesce((
            select max(seq) from romancy_log as log
            where log.instance_id = instance.instance_id and log.life = instance.life
        ), 0)) as head
    from json_each(:ids) as wanted
    cross join romancy_instances as instance on instance.instance_id = wanted.value
) as found;

-- name: short_logs (runs(instance_id, life, run_from), bytes) -> instance_id, body
-- The commits of some current runs that are at most that long.
select log.instance_id, log.body
from json_each(:runs) as run
cross join romancy_log as log
    on log.instance_id = json_extract(run.value, '$[0]')
    and log.life = json_extract(run.value, '$[1]')
    and log.seq >= json_extract(run.value, '$[2]')
where length(log.body) <= :bytes
order by log.instance_id, log.seq;

-- name: mailboxes (worker, unknown, kept) -> instance_id, life, signals, size
-- Owned instances with mail that their owner has not seen, and those whose mail it does not know, each with the size of
-- its mail, for which no message is read. Messages that the worker keeps are left out, if the counter has not fallen
-- below that.
select
    owned.instance_id,
    owned.life,
    owned.signals,
    (
        select coalesce(sum(length(body) + 1), 0)
        from romancy_inbox as inbox
        where inbox.instance_id = owned.instance_id
        and inbox.number > iif(kept.value <= owned.signals, kept.value, 0)
    )
from romancy_instances as owned
left join json_each(:kept) as kept on kept.key = owned.instance_id
where owned.owner = :worker and owned.signals <> owned.seen
union all
select
    instance.instance_id,
    instance.life,
    instance.signals,
    (
        select coalesce(sum(length(body) + 1), 0) from romancy_inbox as inbox
        where inbox.instance_id = instance.instance_id
    )
from json_each(:unknown) as unknown
cross join romancy_instances as instance on instance.instance_id = unknown.value
where instance.owner = :worker and instance.signals = instance.seen;

-- name: mail (wanted(instance_id, after)) -> instance_id, delivery_id, body, at, address, interest, posted_at
-- The messages in some inboxes, each from behind a number, in the order of each sender.
select inbox.instance_id, inbox.delivery_id, inbox.body, inbox.at, inbox.address, inbox.interest, inbox.posted_at
from json_each(:wanted) as wanted
cross join romancy_inbox as inbox
    on inbox.instance_id = json_extract(wanted.value, '$[0]')
    and inbox.number > json_extract(wanted.value, '$[1]')
order by inbox.instance_id, inbox.delivery_id;

-- name: wake_asleep ()
-- Repair: instances without an owner, not due, and with unseen mail.
update romancy_instances set wake_at = :now
where
    owner is null and signals <> seen and wake_at is null
    and status not in ('completed', 'failed', 'cancelled', 'stuck', 'paused');

-- name: wake_stranded ()
-- Repair: instances without an owner, not due, and not at rest by their status.
update romancy_instances set wake_at = :now
where status in ('running', 'cancelling', 'compensating') and owner is null and wake_at is null;

-- name: wake_parked (codes)
-- Make stuck instances due if there is code that has not refused them.
update romancy_instances set wake_at = :now
where
    status = 'stuck' and owner is null and wake_at is null
    and exists (
        select 1 from json_each(:codes) as known
        where
            known.key = workflow_name
            and known.value not in (select value from json_each(romancy_instances.refused))
    );

-- name: count_beat (token, worker_id, lease, codes, boot_id, pid_namespace, pid, pid_start, leaving, registered)
-- Register a worker or count its beat up, unless it was declared dead. :registered: it had a row, and is dead if that is
-- gone.
insert into romancy_workers (
    token, worker_id, lease, beat, dead, codes, boot_id, pid_namespace, pid, pid_start, started_at, beat_at
)
select :token, :worker_id, :lease, 1, :leaving, :codes, :boot_id, :pid_namespace, :pid, :pid_start, :now, :now
where not :registered or exists (select 1 from romancy_workers where token = :token)
on conflict (token) do update set
    worker_id = excluded.worker_id,
    lease = excluded.lease,
    beat = beat + 1,
    dead = excluded.dead,
    codes = excluded.codes,
    boot_id = excluded.boot_id,
    pid_namespace = excluded.pid_namespace,
    pid = excluded.pid,
    pid_start = excluded.pid_start,
    beat_at = excluded.beat_at
where dead = 0;

-- name: living_beat (token) -> beat
-- How often a living worker's heart has beaten.
select beat from romancy_workers where token = :token and dead = 0;

-- name: peers (token) -> now, alive, token, worker_id, lease, beat, dead, codes,
-- boot_id, pid_namespace, pid, pid_start, started_at, beat_at
-- The time and whether this worker is alive, beside all others that are alive and the dead ones that still own instances.
-- One row if there are none.
select
    :now, exists (select 1 from romancy_workers where token = :token and dead = 0),
    p.token, p.worker_id, p.lease, p.beat, p.dead, p.codes, p.boot_id, p.pid_namespace, p.pid, p.pid_start, p.started_at,
    p.beat_at
from (select 1) as one
left join romancy_workers as p
    on p.token <> :token and (p.dead = 0 or exists (select 1 from romancy_instances where owner = p.token));

-- name: declare_dead (worker, dead, beat)
-- Mark a worker dead if its beat has not moved since it was seen and the caller is alive. No row touched: refused.
update romancy_workers set dead = 1
where
    token = :dead and (dead = 1 or beat = :beat)
    and exists (select 1 from romancy_workers where token = :worker and dead = 0);

-- name: owned_heads (dead, limit) -> instance_id, life, head
-- Some instances of a dead worker, with the last seq of their logs.
select
    instance_id, life,
    max(last_seq, coalesce((
        select max(seq) from romancy_log as log
        where log.instance_id = instance.instance_id and log.life = instance.life
    ), 0))
from romancy_instances as instance
where owner = :dead
order by instance_id
limit :limit;

-- name: takeover_log (owned(instance_id, life, head), writer, body)
-- The entry that fences the dead owner off, in each of these logs.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') + 1, :writer, :body, :now
from json_each(:owned);

-- name: takeover_instances (owned(instance_id, life, head))
-- Free these instances and make them due at once. The crash counts if the log has not grown since the last one.
update romancy_instances set
    owner = null,
    wake_at = :now,
    crashes = case when crash_seq = t.head then crashes + 1 else 1 end,
    crash_seq = t.head + 1,
    last_seq = t.head + 1,
    updated_at = :now
from (
    select json_extract(value, '$[0]') as instance_id, json_extract(value, '$[2]') as head from json_each(:owned)
) as t
where romancy_instances.instance_id = t.instance_id;

-- name: still_owned (owner) -> instance_id
-- Whether a worker still owns an instance.
select instance_id from romancy_instances where owner = :owner limit 1;
