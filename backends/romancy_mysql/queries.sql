-- The statements for all engines of this wire; claims.sql holds the claims. Parameters are written :name. :rows and :ids
-- are rows or values separated by commas. If one row is given, ":source romancy_x x" is the table alone, and the other
-- parameters are literals. Otherwise it is a derived table v of all given rows and, joined to it, the table, and the
-- other parameters are columns of v.
--
-- In "on duplicate key update" a column is set to itself: an existing row is left unchanged and counts 0, a new one
-- counts 1, and a value that does not fit is an error. "insert ignore" would truncate the value and only warn.
-- timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) is the server's time in microseconds.

-- ---------------------------------------------------------------------------------------------------- log and instances

-- name: append_log
-- The fence: the row is inserted if its key is free. For a single row, :rows is one SELECT with `from_living`. Of
-- several rows, the first gets its writer from `living_writer`. They are VALUES if the statement stands alone, and
-- SELECT … UNION ALL within a transaction, which reads the worker's row without locking it. `predecessors` is added to
-- either.
insert into romancy_log (instance_id, life, seq, writer, body, at) :rows
on duplicate key update seq = romancy_log.seq

-- name: from_living
-- The end of a single row with its time, and its source: there is no row if the worker is dead or unknown.
, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) from romancy_workers where token = :token and dead = 0

-- name: living_writer
-- The nonce, or NULL if the worker is dead or unknown. The column refuses NULL, and with it the whole statement.
(select :writer from romancy_workers where token = :token and dead = 0)

-- name: predecessors
-- Whether all these rows exist, each by the expected writer: the rows before the appends. A statement may read the
-- table that it writes if it first reads it into a derived table, as a count always does.
(select f.found from (
    select count(*) as found from :source romancy_log p
    where p.instance_id = :instance_id and p.life = :life and p.seq = :prior and p.writer = :known
) f) = :count

-- name: start_instances
-- New instances. append_log writes their log rows.
insert into romancy_instances
    (instance_id, life, status, owner, wake_at, touched_at, error, parent, input, projection, index_paths, {given},
     updated_at, created_at)
values :rows
on duplicate key update life = romancy_instances.life

-- name: hold_former
-- Lock the ended life that a new one replaces, or fail if it is not there.
select if(count(*) = 1, 0, (select 1 union all select 2))
from romancy_instances
where instance_id = :instance_id and life = :life and status in (:statuses) for update

-- name: now
-- The server's time in microseconds, as in every statement that has one.
timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))

-- name: from_now
-- The time that many microseconds from now.
timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) + :delay

-- name: later_of
-- A given time, or that many microseconds from now, whichever is later.
greatest(:at, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) + :delay)

-- name: change_instances
-- The changes of an append to its instance's row. Mail that the owner has not seen, by the counter, keeps the instance
-- from sleeping and from ending. An ended instance can only be reopened (1), and one that nobody may own (2) has no
-- owner. Refused by '' clears the refusals of all code versions. :continued is empty if no workflow continues as new.
update :source romancy_instances i
set
    i.status = :status,
    i.seen = :seen,
    i.owner = if(:releases, null, i.owner),
    i.wake_at = if(:sleeps, if(i.signals = :seen, :wake_at, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))), null),
    i.error = :error,
    i.code = coalesce(:code, i.code),
    i.refused = case when :refused_by is null then i.refused when :refused_by = '' then null
                     else concat_ws('\n', i.refused, :refused_by) end,
    i.last_seq = :seq,
    i.updated_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)),
    i.touched_at = if(:releases, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)), i.touched_at):continued
where i.instance_id = :instance_id and i.life = :life and (not :ends or i.signals = :seen)
    and (:finds = 1 or i.status not in (:closed)) and (:finds <> 2 or i.owner is null)

-- name: continued
-- Further changes for workflows that continue as new: the run begins here, and queries see its input. A run of NULL
-- marks those that do not continue.
, i.run_from = coalesce(:run_from, i.run_from),
    i.input = coalesce(:input, i.input),
    i.projection = if(:run_from is null, i.projection, :projection),
    i.index_paths = coalesce(:index_paths, i.index_paths)

-- name: index_sets () -> workflow_name, index_paths, paths
-- The known sets of declared paths, by workflow.
select workflow_name, index_paths, paths from romancy_index_sets

-- name: add_index_sets (rows)
-- Record sets of declared paths before the first instances that have them.
insert into romancy_index_sets (workflow_name, index_paths, paths) values :rows
on duplicate key update index_paths = romancy_index_sets.index_paths

-- name: renew_index_sets
-- The same for runs that continue as new. Most sets are known, and then nothing is locked.
insert into romancy_index_sets (workflow_name, index_paths, paths)
select i.workflow_name, :index_paths, :paths
from :source romancy_instances i
where i.instance_id = :instance_id and not exists (
    select 1 from romancy_index_sets s where s.workflow_name = i.workflow_name and s.index_paths = :index_paths
)
on duplicate key update index_paths = romancy_index_sets.index_paths

-- name: drop_index (ids)
-- Remove the index rows of instances whose input changes or that are removed.
delete from romancy_index where instance_id in (:ids)

-- name: add_index (index(instance_id, path, value))
-- Index rows, with the creation time of the instance that was written just before.
insert into romancy_index (path, value, created_at, instance_id)
select :path, :value, i.created_at, i.instance_id
from :source romancy_instances i
where i.instance_id = :instance_id

-- ------------------------------------------------------------------------------------------------------------- inbox

-- name: consume_inbox
-- Consume messages that become events.
delete x from :source romancy_inbox x
where x.instance_id = :instance_id and x.delivery_id = :delivery_id

-- name: add_seen
-- Keys that identify a redelivery, after the instances are locked that remember them.
insert into romancy_seen (unit, life, dedupe, at) values :rows
on duplicate key update dedupe = romancy_seen.dedupe

-- name: life_now
-- The life of an instance that this transaction has locked. (Another statement answers for one that is not there.)
coalesce((select i.life from romancy_instances i where i.instance_id = :instance_id), 0)

-- name: add_inbox
-- Messages for instances, after their counters have moved, or with the number for uncounted messages.
insert into romancy_inbox (instance_id, delivery_id, body, number, at) values :rows
on duplicate key update delivery_id = romancy_inbox.delivery_id

-- name: number_now
-- The number of a message whose counter has just been moved. This transaction has locked the counter.
(select i.signals from romancy_instances i where i.instance_id = :instance_id)

-- name: number_inbox
-- Number the messages whose counters have just been moved. A message that has a number keeps it.
update :source romancy_inbox x
join romancy_instances i on i.instance_id = x.instance_id
set x.number = least(x.number, i.signals)
where x.instance_id = :instance_id and x.delivery_id = :delivery_id

-- name: add_uncounted
-- Messages of a session, whose receivers' counters move after its commit.
insert into romancy_uncounted (instance_id, delivery_id, at) values :rows
on duplicate key update delivery_id = romancy_uncounted.delivery_id

-- name: drop_uncounted (mail(instance_id, delivery_id))
-- Remove the marks of messages that are counted now.
delete u from :source romancy_uncounted u
where u.instance_id = :instance_id and u.delivery_id = :delivery_id

-- name: lock_instances
-- Lock these rows in order, before two statements write to them.
select count(i.instance_id)
from :source romancy_instances i
where i.instance_id = :instance_id for update

-- name: signal_instances
-- Move the counter, and make a sleeping instance due. The counter's new value numbers the mail that follows in this
-- transaction. A reader that sees the counter moved therefore sees the mail too, and no later mail has a number at or
-- below the old value.
update :source romancy_instances i
set
    i.signals = i.signals + :count,
    i.wake_at = if(i.owner is null and i.status not in (_binary'stuck', _binary'paused'),
        least(coalesce(i.wake_at, 9223372036854775807), timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))), i.wake_at),
    i.touched_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
where i.instance_id = :instance_id and i.status not in (:closed)

-- ---------------------------------------------------------------------------------------------------- why it was refused

-- name: look_workers
-- Which of these workers are alive.
select token from romancy_workers where token in (:ids) and dead = 0 :lock

-- name: look_instances
-- The columns that decide about an item, of these instances.
select instance_id, life, status, signals, owner is not null from romancy_instances where instance_id in (:ids) :lock

-- name: look_log
-- The writers at these places of the log.
select l.instance_id, l.life, l.seq, l.writer
from :source romancy_log l
where l.instance_id = :instance_id and l.life = :life and l.seq = :seq :lock

-- name: look_inbox
-- Which of these messages exist.
select x.instance_id, x.delivery_id
from :source romancy_inbox x
where x.instance_id = :instance_id and x.delivery_id = :delivery_id :lock

-- name: look_seen
-- Which of these dedupe keys are known at their addresses.
select s.unit, s.life, s.dedupe
from :source romancy_seen s
where s.unit = :unit and s.life = 0 and s.dedupe = :dedupe :lock

-- name: look_seen_inside
-- Which of these dedupe keys the present lives of their instances know.
select s.unit, s.life, s.dedupe
from :source romancy_instances i
straight_join romancy_seen s on s.unit = i.instance_id and s.life = i.life
where i.instance_id = :unit and s.dedupe = :dedupe :lock

-- name: see_uncommitted ()
-- Let the next statement see uncommitted rows, without waiting for any.
set transaction isolation level read uncommitted

-- name: free_instances (ids) -> instance_id
-- Those of these instances that no other transaction holds.
select instance_id from romancy_instances where instance_id in (:ids) for update skip locked

-- ---------------------------------------------------------------------------------------------------------------- reading

-- name: one_moment ()
-- Let the next statements, up to "commit", all see the same snapshot.
set transaction isolation level repeatable read

-- name: begin_moment ()
-- Begin the transaction that one_moment prepared.
start transaction with consistent snapshot, read only

-- name: end_moment ()
-- End the transaction. Nothing was written.
commit

-- name: read_instance
-- One instance.
select :columns from romancy_instances i where i.instance_id = :instance_id

-- name: instance_columns
-- The columns of an InstanceRow, in its order.
{instance i}

-- name: read_log
-- A page of the current life's log, cut at that many bytes. Its first row is always included. Each row also says how
-- many were found before the cut.
select l.seq, l.writer, l.body, l.at, p.found
from (
    select s.seq, s.size, sum(s.size) over (order by s.seq) as upto, count(*) over () as found
    from (
        select g.seq, octet_length(g.body) as size
        from romancy_log g
        where g.instance_id = :instance_id
            and g.life = (select life from romancy_instances where instance_id = :instance_id)
            and g.seq > :after
        order by g.seq
        limit :limit
    ) s
) p
straight_join romancy_log l
    on l.instance_id = :instance_id
    and l.life = (select life from romancy_instances where instance_id = :instance_id)
    and l.seq = p.seq
where p.upto <= :bytes or p.upto = p.size
order by l.seq

-- ----------------------------------------------------------------------------------------------------------------- leases

-- name: register (token, worker_id, lease, codes, boot_id, pid_namespace, pid, pid_start)
-- A worker's row. Its first heartbeat follows.
insert into romancy_workers
    (token, worker_id, lease, beat, dead, codes, boot_id, pid_namespace, pid, pid_start, beat_at, started_at)
values (:token, :worker_id, :lease, 0, 0, :codes, :boot_id, :pid_namespace, :pid, :pid_start,
    timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)), timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)))
on duplicate key update token = romancy_workers.token

-- name: beat_again (token, worker_id, lease, codes, leaving)
-- A heartbeat. A dead worker's row does not change.
update romancy_workers
set beat = beat + 1, lease = :lease, codes = :codes, worker_id = :worker_id, dead = :leaving,
    beat_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
where token = :token and dead = 0

-- name: peers (token) -> now, alive, token, worker_id, lease, beat, dead, codes,
-- boot_id, pid_namespace, pid, pid_start, started_at, beat_at
-- The time and whether this worker is alive, beside all others that are alive and the dead ones that still own
-- instances. One line if there are none.
select timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) as moment,
    exists (select 1 from romancy_workers a where a.token = :token and a.dead = 0) as alive,
    w.token, w.worker_id, w.lease, w.beat, w.dead, w.codes, w.boot_id, w.pid_namespace, w.pid, w.pid_start, w.started_at,
    w.beat_at
from (select 1 as one) here
left join romancy_workers w
    on w.token <> :token and (w.dead = 0 or exists (select 1 from romancy_instances i where i.owner = w.token))

-- name: mark_dead (worker, dead, beat)
-- Declare a worker dead if its beat has not moved and the caller is alive.
update romancy_workers d
join romancy_workers w on w.token = :worker and w.dead = 0
set d.dead = 1
where d.token = :dead and d.dead = 0 and d.beat = :beat

-- name: marked_dead (worker, dead) -> token
-- The worker, if it is dead and the caller is alive.
select d.token
from romancy_workers d
join romancy_workers w on w.token = :worker and w.dead = 0
where d.token = :dead and d.dead = 1

-- name: read_owned (dead, limit, every, ids) -> instance_id, life, head
-- Some instances that a dead worker owns, with the last seq of each log; unless :every, only of these.
select i.instance_id, i.life, greatest(i.last_seq, coalesce((
    select l.seq from romancy_log l where l.instance_id = i.instance_id and l.life = i.life
    order by l.instance_id desc, l.life desc, l.seq desc limit 1
), 0))
from romancy_instances i force index (owned)
where i.owner = :dead and (:every or i.instance_id in (:ids))
order by i.instance_id
limit :limit

-- name: log_takeover (owned(instance_id, life, head), worker, writer, body)
-- The entry that fences the dead owner off, in each of these logs, if the new writer is alive.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select :instance_id, :life, :head + 1, :writer, :body, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from :source romancy_workers w
where w.token = :worker and w.dead = 0
on duplicate key update seq = romancy_log.seq

-- name: free_from_dead (owned(instance_id, life, head), dead)
-- After the log rows are written: clear the owners and make the instances due. The crash counts if the log has not grown
-- since the last one.
update :source romancy_instances i
set
    i.owner = null,
    i.wake_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)),
    i.crashes = if(i.crash_seq = :head, i.crashes + 1, 1),
    i.crash_seq = :head + 1,
    i.last_seq = :head + 1,
    i.updated_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)),
    i.touched_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
where i.instance_id = :instance_id and i.life = :life and i.owner = :dead

-- name: still_owned (owner) -> instance_id
-- Whether a worker still owns an instance.
select i.instance_id from romancy_instances i force index (owned) where i.owner = :owner limit 1

-- ----------------------------------------------------------------------------------------------------------------- sweep

-- name: find_uncounted
-- Uncounted messages that a session wrote a while ago, and whether their instance is open.
select u.instance_id, u.delivery_id, i.instance_id is not null
from romancy_uncounted u
left join romancy_instances i on i.instance_id = u.instance_id and i.status not in (:closed)
where u.at < timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :age
limit :limit

-- name: find_parked
-- Stuck instances of one workflow that this code has not refused.
(select i.instance_id
from romancy_instances i
where i.status = _binary'stuck' and i.owner is null and i.wake_at is null
    and i.workflow_name = :workflow_name
    and locate(:code, concat('\n', coalesce(i.refused, ''), '\n')) = 0
limit :limit)

-- name: find_stranded
-- Instances without an owner, not due, and not at rest by their status.
select i.instance_id
from romancy_instances i force index (by_status)
where i.status in (_binary'running', _binary'cancelling', _binary'compensating') and i.owner is null and i.wake_at is null
limit :limit

-- name: count_mail
-- Make the owner claim again, and wake sleeping instances.
update romancy_instances i
set
    i.wake_at = if(i.owner is null and i.status not in (_binary'stuck', _binary'paused'),
        least(coalesce(i.wake_at, 9223372036854775807), timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))), i.wake_at),
    i.signals = i.signals + if(i.signals = i.seen, 1, 0),
    i.touched_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
where i.instance_id in (:ids) and i.status not in (:closed)

-- name: offer_asleep
-- Make the instances due for any worker with fitting code.
update romancy_instances i
set
    i.wake_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)),
    i.touched_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
where i.instance_id in (:ids) and i.owner is null and i.wake_at is null
    and i.status in (_binary'stuck', _binary'running', _binary'cancelling', _binary'compensating')

-- ----------------------------------------------------------------------------------------------------------------- waiting

-- name: touched
-- The news for waiting callers: the newest instances, up to a limit, that became due, got mail or ended since.
select instance_id, touched_at from romancy_instances force index (touched)
where touched_at >= :since
order by touched_at desc
limit :limit

-- name: came
-- One line for each of the newest workers that came since. It reads the rows of all workers, also of those that have died
-- within the last hour.
select concat(:mark, token) as news, started_at from romancy_workers
where started_at >= :since and dead = 0 and codes <> ''
order by started_at desc
limit 10

-- name: await_change
-- One row as soon as a row was touched later, committed or not; none after that many ticks, of which each is a fifth
-- longer than the one before, up to the longest. The inner query names a tick, so that the server runs it again at each
-- of them.
with recursive ticks (tick) as (select 1 union all select tick + 1 from ticks where tick < :ticks)
select 1 from ticks
where sleep(least(:tick_ms * pow(1.2, ticks.tick - 1), :longest_ms) / 1000)
    or :since < (
        select i.touched_at from romancy_instances i force index (touched)
        where ticks.tick > 0 order by i.touched_at desc limit 1
    )
limit 1

-- ----------------------------------------------------------------------------------------------------------------- pruning

-- name: find_old (status, before, limit) -> instance_id
-- Ended instances of one status, by age. An instance that was created later cannot have ended earlier. In the index's
-- order, so that no more rows are locked.
select instance_id from romancy_instances force index (by_status)
where status = :status and created_at < :before and updated_at < :before
order by created_at
limit :limit
for update skip locked

-- name: prune_named (statuses, ids, limit, until) -> instance_id
-- Ended instances by id.
select instance_id from romancy_instances
where instance_id in (:ids) and status in (:statuses)
    and status in (_binary'completed', _binary'failed', _binary'cancelled') and updated_at <= :until
order by instance_id
limit :limit
for update skip locked

-- name: prune_log (ids)
-- Remove the logs of these instances, also those of former lives.
delete from romancy_log where instance_id in (:ids)

-- name: prune_journal (ids)
-- Remove what was logged about them.
delete from romancy_journal where instance_id in (:ids)

-- name: prune_inbox (ids)
-- Remove mail that will never be read.
delete from romancy_inbox where instance_id in (:ids)

-- name: forget_instances (ids)
-- Forget which messages these instances got. A range of lives would also lock the next row, which is of another unit.
delete from romancy_seen where unit in (:ids) and life + 0 <> 0

-- name: prune_uncounted (ids)
-- Remove the marks of its uncounted messages.
delete from romancy_uncounted where instance_id in (:ids)

-- name: prune_instances (ids)
-- Remove the instances themselves.
delete from romancy_instances where instance_id in (:ids)

-- name: former_runs (limit) -> instance_id, life, run_from
-- Instances that continued as new and still have rows of earlier runs.
select i.instance_id, i.life, i.run_from
from romancy_instances i
where i.run_from > 1 and exists (
    select 1 from romancy_log l where l.instance_id = i.instance_id and l.life = i.life and l.seq < i.run_from
)
limit :limit

-- name: drop_former_runs (runs(instance_id, life, run_from))
-- Remove their rows before the current run.
delete l from :source romancy_log l
where l.instance_id = :instance_id and l.life = :life and l.seq < :run_from

-- name: former_streams (runs(instance_id, life, run_from), streams, late) -> instance_id, life, number
-- The last rows that such runs have written to streams. The newest row stays: the next one is numbered behind it.
select l.instance_id, l.life, max(j.number)
from :source romancy_log l
join romancy_journal j on j.instance_id = l.instance_id and j.life = l.life and j.number > :streams and j.number < (
    select k.number from romancy_journal k where k.instance_id = l.instance_id and k.life = l.life
    order by k.instance_id desc, k.life desc, k.number desc limit 1
)
where l.instance_id = :instance_id and l.life = :life and l.seq = :run_from and j.at < l.at - :late
group by l.instance_id, l.life

-- name: prune_seen (before, limit)
-- Remove old dedupe keys, up to a limit.
delete from romancy_seen where at < :before limit :limit

-- name: dead_workers (age) -> token
-- Dead workers that own nothing, and have been silent for so long that no claim of theirs can still commit. Without the
-- hint, MySQL lists the owners of all instances, if it has not counted these yet.
select w.token
from romancy_workers w
where w.dead = 1 and w.beat_at < timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :age
    and not exists (select /*+ no_semijoin() */ 1 from romancy_instances i where i.owner = w.token)

-- name: drop_workers (tokens)
-- Remove their rows.
delete from romancy_workers where dead = 1 and token in (:tokens)

-- ----------------------------------------------------------------------------------------------------------------- finding

-- name: last_commits (keys(instance_id, life, seq)) -> instance_id, seq, writer, body, at
-- Rows of logs by their keys.
select l.instance_id, l.seq, l.writer, l.body, l.at
from :source romancy_log l
where l.instance_id = :instance_id and l.life = :life and l.seq = :seq

-- name: about_how_many (database, table) -> number
-- The rows of a table, as the server estimates them.
select table_rows from information_schema.tables where table_schema = :database and table_name = :table

-- ------------------------------------------------------------------------------------------------------------------ schema

-- name: server_settings
-- Settings that cost durability or speed.
show global variables where variable_name in (
    'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'log_bin', 'sync_binlog', 'innodb_buffer_pool_size',
    'max_connections', 'read_only')
