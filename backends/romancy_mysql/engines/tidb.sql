-- The scripts that TiDB refuses, or accepts with another meaning, in words that it knows; the rules of queries.sql hold
-- here too. In all others, the time is replaced by that of the cluster (`tidb.py`).

-- name: claim_due
-- Due instances of one workflow and priority, longest due first, not locked: `claim_locked` does that.
(select i.instance_id, i.wake_at, i.priority
from romancy_instances i force index (claim)
where i.rung = :rung and i.workflow_name = :workflow_name and i.fair_line = ''
    and i.wake_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
    and locate(:code, concat('\n', coalesce(i.refused, ''), '\n')) = 0
    and not (:leaves and i.code in (:leave) and i.wake_at > timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :grace)
order by i.wake_at
limit :limit)

-- name: claim_locked
-- Those of these instances that are due still, locked, if nobody else holds any of them.
select i.instance_id, i.wake_at, i.priority
from romancy_instances i
where i.instance_id in (:ids)
    and i.wake_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
    and (:fits)
for update nowait

-- name: claim_fits
-- A condition of `claim_locked`: that the code which claims is not refused by an instance of one workflow.
i.workflow_name = :workflow_name and locate(:code, concat('\n', coalesce(i.refused, ''), '\n')) = 0

-- name: free_instances (ids) -> instance_id
-- These instances, locked, if nobody else holds any of them.
select instance_id from romancy_instances where instance_id in (:ids) for update nowait

-- name: free_place (instance_id, life, seq) -> instance_id
-- One place of a log, locked, if nobody else is writing there.
select instance_id from romancy_log where instance_id = :instance_id and life = :life and seq = :seq for update nowait

-- name: predecessors_now
-- As `predecessors`, for the one append of a session. A subquery that names nothing of the statement around it is read
-- while that is planned, in REPEATABLE READ as of the session's begin. So this one names the row of the worker.
(select f.found from (
    select count(*) as found from :source romancy_log p
    where p.instance_id = :instance_id and p.life = :life and p.seq = :prior and p.writer = :known
) f where romancy_workers.dead = 0) = :count

-- name: hold_former
-- Lock the ended life that a new one replaces, or fail if it is not there.
select json_length('1', if(count(*) = 1, '$', '-'))
from romancy_instances
where instance_id = :instance_id and life = :life and status in (:statuses) for update

-- name: begin_moment ()
-- Begin the transaction that one_moment prepared.
start transaction with consistent snapshot

-- name: peers (token) -> now, alive, token, worker_id, lease, beat, dead, codes,
-- boot_id, pid_namespace, pid, pid_start, started_at, beat_at
-- The time and whether this worker is alive, beside all others. The condition of a join may not have a subquery. Without
-- the hint, the owners of all instances are read and joined, for each heartbeat.
select timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) as moment,
    exists (select 1 from romancy_workers a where a.token = :token and a.dead = 0) as alive,
    w.token, w.worker_id, w.lease, w.beat, w.dead, w.codes, w.boot_id, w.pid_namespace, w.pid, w.pid_start, w.started_at,
    w.beat_at
from (select 1 as one) here
left join (
    select p.token, p.worker_id, p.lease, p.beat, p.dead, p.codes, p.boot_id, p.pid_namespace, p.pid, p.pid_start,
        p.started_at, p.beat_at
    from romancy_workers p
    where p.token <> :token and (p.dead = 0 or exists (
        select /*+ no_decorrelate() */ 1 from romancy_instances i where i.owner = p.token
    ))
) w on true

-- name: find_uncounted
-- Uncounted messages that a session wrote a while ago, and whether their instance is open. Without the hint, all instances
-- are read and joined.
select /*+ inl_join(i) */ u.instance_id, u.delivery_id, i.instance_id is not null
from romancy_uncounted u
left join romancy_instances i on i.instance_id = u.instance_id and i.status not in (:closed)
where u.at < timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :age
limit :limit

-- name: find_parked
-- Stuck instances of one workflow that this code has not refused. Before the instances are counted, TiDB takes another
-- index, and reads all of the workflow.
(select i.instance_id
from romancy_instances i force index (by_status)
where i.status = _binary'stuck' and i.owner is null and i.wake_at is null
    and i.workflow_name = :workflow_name
    and locate(:code, concat('\n', coalesce(i.refused, ''), '\n')) = 0
limit :limit)

-- name: mark_dead (worker, dead, beat)
-- Declare a worker dead if its beat has not moved and the caller is alive. Only rows that are written are locked: without
-- a lock on the caller's row, two workers could declare each other dead.
update romancy_workers d
join romancy_workers w on w.token = :worker and w.dead = 0
set d.dead = 1, w.dead = 0
where d.token = :dead and d.dead = 0 and d.beat = :beat

-- name: old_instances (status, before, limit) -> instance_id
-- Ended instances of one status, by age, not locked.
select instance_id from romancy_instances force index (by_status)
where status = :status and created_at < :before and updated_at < :before
order by created_at
limit :limit

-- name: named_instances (statuses, ids, limit, until) -> instance_id
-- Ended instances by id, not locked.
select instance_id from romancy_instances
where instance_id in (:ids) and status in (:statuses)
    and status in (_binary'completed', _binary'failed', _binary'cancelled') and updated_at <= :until
order by instance_id
limit :limit

-- name: ended_locked (statuses, ids, until) -> instance_id
-- Those of these instances that have been ended since then, locked, if nobody else holds any of them.
select instance_id from romancy_instances
where instance_id in (:ids) and status in (:statuses)
    and status in (_binary'completed', _binary'failed', _binary'cancelled') and updated_at <= :until
for update nowait

-- name: former_runs (limit) -> instance_id, life, run_from
-- Instances that continued as new and still have rows of earlier runs. Before the instances are counted, TiDB reads all.
select i.instance_id, i.life, i.run_from
from romancy_instances i force index (runs)
where i.run_from > 1 and exists (
    select /*+ no_decorrelate() */ 1 from romancy_log l
    where l.instance_id = i.instance_id and l.life = i.life and l.seq < i.run_from
)
limit :limit

-- name: dead_workers (age) -> token
-- Dead workers that own nothing, and have been silent for so long that no claim of theirs can still commit. Without the
-- hint, the owners of all instances are read and joined.
select w.token
from romancy_workers w
where w.dead = 1 and w.beat_at < timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :age
    and not exists (select /*+ no_decorrelate() */ 1 from romancy_instances i where i.owner = w.token)

-- name: outbox_seen (limit) -> outbox_id
-- Due messages, longest due first, not locked.
select outbox_id from romancy_outbox force index (due)
where state = _binary'pending' and next_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
order by next_at, at
limit :limit

-- name: outbox_locked (ids) -> outbox_id, behind
-- Those of these messages that are due still, locked, if nobody else holds any of them.
select outbox_id, null from romancy_outbox
where outbox_id in (:ids) and state = _binary'pending'
    and next_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
for update nowait

-- name: outbox_judge (ids) -> outbox_id, behind
-- Of messages that this transaction has locked, those with an older pending one of the same key. An index is read up to
-- the first older one, and no further than the message itself: the time is compared once more for that.
select o.outbox_id, o.order_key is not null and exists (
    select /*+ no_decorrelate() */ 1 from romancy_outbox older force index (by_order)
    where older.order_key = o.order_key and older.state = _binary'pending' and older.at <= o.at
        and (older.at < o.at or older.outbox_id < o.outbox_id)
    limit 1
)
from romancy_outbox o force index (primary)
where o.outbox_id in (:ids)
order by o.next_at, o.at, o.outbox_id

-- name: outbox_parked (limit) -> outbox_id
-- Parked messages that have no pending one before them: the first of each key that has parked ones. A join would compare
-- each with all of its key. The order has all columns of the index, of which TiDB then reads one entry.
select /*+ inl_join(p) */ p.outbox_id
from (
    select (
        select o.outbox_id from romancy_outbox o force index (by_order)
        where o.order_key = k.order_key and o.state = _binary'pending'
        order by o.order_key, o.state, o.at, o.outbox_id
        limit 1
    ) as outbox_id
    from (
        select distinct order_key from romancy_outbox force index (due)
        where state = _binary'pending' and next_at is null
    ) k
) h
join romancy_outbox p on p.outbox_id = h.outbox_id
where p.next_at is null
limit :limit

-- name: drop_messages (messages(address, message_id))
-- Remove messages without receivers. It waits for a dispatch that removes them too.
delete m from :source romancy_messages m
where m.address = :address and m.message_id = :message_id

-- name: hold_interests (interests(owner, life, interest_id, address), count) -> held
-- Lock these interests until the end of the transaction, or fail if one has changed since it was read.
select json_length('1', if(count(*) = :count, '$', '-'))
from :source romancy_interests i
where i.owner = :owner and i.life = :life and i.interest_id = :interest_id and i.address = :address for update

-- name: judge_interest (owner, life, address, other, copies)
-- The state that a new interest finds, while its address is locked: see routing.sql.
set @judged = (
select case
    when :life <> 0 and not exists (
        select 1 from romancy_instances n where n.instance_id = :owner and n.life = :life and n.status not in (:closed)
    ) then _binary'gone'
    when k.excluding > 0 then :other
    when k.copies = 0 and :copies then _binary'first'
    else _binary'free'
end
from (
    select cast(coalesce(sum(i.kind = :other), 0) as signed) as excluding,
        cast(coalesce(sum(i.kind = _binary'copy'), 0) as signed) as copies
    from romancy_interests i force index (by_address)
    left join romancy_instances n on n.instance_id = i.owner and n.life = i.life and n.status not in (:closed)
    where i.address = :address and (i.life = 0 or n.instance_id is not null)
) k)

-- name: some_lives (after, limit) -> instance_id
-- The next ids that have a log. A recursive query that probes for one after the other does not end on TiDB.
select distinct l.instance_id from romancy_log l where l.instance_id > :after order by l.instance_id limit :limit

-- name: server_settings
-- Settings that cost speed, or that refuse writes. What a cluster stores is durable by its own settings.
show global variables where variable_name in (
    'tidb_super_read_only', 'tidb_restricted_read_only', 'tidb_enable_async_commit', 'tidb_enable_1pc', 'max_connections')
