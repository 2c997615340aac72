-- name: append_log
-- The fence: a row is written only if its key is free, the row before is by the writer that it names (null: any
-- writer), and its own writer's worker is alive. Otherwise its writer is null, which is ignored. A query of the table
-- that is written into, in the place of the values, would put its rows into another one first.
insert or ignore into romancy_log (instance_id, life, seq, writer, body, at)
values (
    ?, ?, ?,
    case
        when
            exists (select 1 from romancy_workers where token = ? and dead = 0)
            and (
                ? is null
                or exists (select 1 from romancy_log where instance_id = ? and life = ? and seq = ? and writer = ?)
            )
        then ?
    end,
    ?, ?
);

-- name: append_logs
-- The same for many rows at once. What is ignored (a taken key, a null that is not allowed) is missing in the count. A
-- statement that could fail would have to copy every page first.
insert or ignore into romancy_log (instance_id, life, seq, writer, body, at)
select column1, column2, column3, column4, column5, ?
from (values {rows})
where
    column1 is not null
    and exists (select 1 from romancy_workers where token = ? and dead = 0)
    and (
        column6 is null
        or exists (
            select 1 from romancy_log
            where instance_id = column1 and life = column2 and seq = column3 - 1 and writer = column6
        )
    );

-- name: place_facts
-- What an append found that was not written: who wrote the row at its place and the one before, and whether its worker
-- is alive.
select
    (select writer from romancy_log where instance_id = ? and life = ? and seq = ?),
    (select writer from romancy_log where instance_id = ? and life = ? and seq = ?),
    exists (select 1 from romancy_workers where token = ? and dead = 0);
-- name: first_facts
-- What a first append finds: the instance that has its id, who wrote the first row in the log of its life, and whether
-- its owner is alive.
select
    held.life,
    held.status,
    (select writer from romancy_log where instance_id = :instance_id and life = :life and seq = 1),
    exists (select 1 from romancy_workers where token = :owner and dead = 0)
from (select 1) as one
left join romancy_instances as held on held.instance_id = :instance_id;

-- name: worker_alive
-- Whether a worker may write.
select 1 from romancy_workers where token = ? and dead = 0;

-- name: instance_guard
-- The columns that an append's change is checked against.
select life, signals, status, owner is not null from romancy_instances where instance_id = ?;

-- name: delivery_facts
-- What a delivery finds: the status of its instance, and whether this life of it remembers the dedupe key.
select
    there.status,
    exists (
        select 1 from romancy_seen as seen
        where seen.unit = there.instance_id and seen.life = there.life and seen.dedupe = ?
    )
from (select 1) as one
left join romancy_instances as there on there.instance_id = ?;

-- name: item_begin
-- Begin an item with effects that can be undone alone.
savepoint romancy_item;

-- name: item_undo
-- Undo the item: the database refused a value of it.
rollback to romancy_item;

-- name: item_end
-- Release the savepoint: the item is kept, or was undone.
release romancy_item;

-- name: first_writer
-- Whether this append is the first one in the log of a life.
select 1 from romancy_log where instance_id = ? and life = ? and seq = 1 and writer = ?;

-- name: start_log
-- The first row of a new instance's log.
insert into romancy_log (instance_id, life, seq, writer, body, at) values (?, ?, 1, ?, ?, ?);

-- name: start_instance
-- A new instance.
insert into romancy_instances (
    instance_id, life, status, owner, wake_at, created_at, updated_at, error, parent, index_paths, input, projection,
    {given}
) values (
    :instance_id, :life, :status, :owner, :wake_at, :now, :now, :error, :parent, :index_paths, :input, :projection,
    {given :}
);

-- name: start_logs
-- The first rows of many logs.
insert or ignore into romancy_log (instance_id, life, seq, writer, body, at)
select column1, column2, 1, column3, column4, ?
from (values {rows})
where column1 is not null;

-- name: start_instances
-- Many new instances. A text that is 0 and a time that is '' are nulls, which the driver binds slowly.
insert or ignore into romancy_instances (
    created_at, updated_at, instance_id, life, status, owner, wake_at, error, parent, index_paths, input, projection,
    {given}
)
select
    ?, ?, column1, column2, column3, column4, nullif(column5, ''), nullif(column6, 0), nullif(column7, 0), column8,
    column9, column10, {given column11}
from (values {rows})
where column1 is not null;

-- name: change_instances
-- The same changes for many instances, each with its guard: the life is the row's, all mail has been seen if it ends,
-- and the instance has not ended unless it is reopened (1), and has no owner if nobody may own it (2). A text that is 0
-- and a time that is '' are nulls.
update or ignore romancy_instances set
    status = column4,
    seen = column5,
    owner = case when column6 then null else owner end,
    wake_at = case when not column7 then null when signals = column5 then nullif(column8, '') else ? end,
    error = nullif(column9, 0),
    code = coalesce(nullif(column10, 0), code),
    last_seq = column11,
    updated_at = ?
from (values {rows})
where
    instance_id = column1 and life = column2 and (not column3 or signals = column5)
    and (column12 = 1 or status not in ('completed', 'failed', 'cancelled'))
    and (column12 <> 2 or owner is null);

-- name: change_instance
-- The changes of an accepted append. The counter alone decides whether a released instance may sleep.
update romancy_instances set
    status = :status,
    seen = :seen,
    owner = case when :releases then null else owner end,
    wake_at = case when not :may_wake then null when signals = :seen then :wake_at else :now end,
    error = :error,
    code = coalesce(:code, code),
    last_seq = :seq,
    updated_at = :now
where instance_id = :instance_id;

-- name: refused
-- The code versions that cannot follow an instance's log.
select refused from romancy_instances where instance_id = ?;

-- name: refuse
-- Set the code versions that cannot follow the log.
update romancy_instances set refused = ? where instance_id = ?;

-- name: begin_run
-- The workflow continued as new.
update romancy_instances set
    run_from = :run_from,
    input = coalesce(:input, input),
    projection = :projection,
    index_paths = coalesce(:index_paths, index_paths)
where instance_id = :instance_id;

-- name: searched
-- The workflow and the creation time of an instance, for its index rows.
select workflow_name, created_at from romancy_instances where instance_id = ?;

-- name: index_clear
-- Remove the index rows of the old run's input.
delete from romancy_index where instance_id = ?;

-- name: index_set
-- Record every set of declared paths that a workflow's instances have had.
insert into romancy_index_sets (workflow_name, paths) values (?, ?) on conflict do nothing;

-- name: index_insert
-- A declared path's value.
insert into romancy_index (path, value, created_at, instance_id) values (?, ?, ?, ?);

-- name: inbox_has
-- Whether a message is still to be consumed.
select 1 from romancy_inbox where instance_id = ? and delivery_id = ?;

-- name: inbox_consume
-- Consume a message that becomes an event.
delete from romancy_inbox where instance_id = ? and delivery_id = ?;

-- name: inbox_insert
-- Insert a message once, with the number that the counter will have.
insert into romancy_inbox (instance_id, delivery_id, body, at, number)
select :instance_id, :delivery_id, :body, :now, signals + 1
from romancy_instances
where instance_id = :instance_id
on conflict do nothing;

-- name: seen_at
-- Whether a message with this key was posted to an address before, even if it has been dispatched since.
select 1 from romancy_seen where unit = ? and life = 0 and dedupe = ?;

-- name: see_at
-- Record the key that identifies the next copy at an address.
insert into romancy_seen (unit, life, dedupe, at) values (?, 0, ?, ?);

-- name: see_inside
-- Record the key that identifies the next copy for the present life of an instance.
insert into romancy_seen (unit, life, dedupe, at)
select instance_id, life, :dedupe, :now from romancy_instances where instance_id = :instance_id;

-- name: signal
-- Count a delivery, and make a sleeping instance due. One that is due already keeps its place.
update romancy_instances set
    signals = signals + 1,
    wake_at = case
        when owner is null and status not in ('completed', 'failed', 'cancelled', 'stuck', 'paused')
        then min(coalesce(wake_at, 9223372036854775807), ?)
        else wake_at
    end
where instance_id = ?;

-- name: instance
-- An instance as queries see it.
select {instance} from romancy_instances where instance_id = ?;

-- name: log_of_life (instance_id, life, after, limit) -> seq, writer, body, at
-- Some rows of the log of a life, which may have no instance.
select seq, writer, body, at from romancy_log
where instance_id = :instance_id and life = :life and seq > :after
order by seq
limit :limit;

-- name: loads (workers, most) -> worker, number
-- Up to so many instances of each worker.
select
    one.value,
    (
        select count(*)
        from (select 1 from romancy_instances indexed by romancy_instances_owner where owner = one.value limit :most)
    )
from json_each(:workers) as one;

-- name: last_commits (keys(instance_id, life, seq)) -> instance_id, seq, writer, body, at
-- Rows of logs by their keys.
select log.instance_id, log.seq, log.writer, log.body, log.at
from json_each(:keys) as one
cross join romancy_log as log
    on
        log.instance_id = json_extract(one.value, '$[0]')
        and log.life = json_extract(one.value, '$[1]')
        and log.seq = json_extract(one.value, '$[2]');

-- name: prune_old (statuses, before, limit) -> instance_id
-- Instances that ended long ago, the oldest first.
select instance_id from romancy_instances indexed by romancy_instances_ended
where
    status in ('completed', 'failed', 'cancelled')
    and status in (select value from json_each(:statuses))
    and updated_at < :before
order by updated_at
limit :limit;

-- name: prune_named (statuses, ids, limit, until) -> instance_id
-- Those of some instances that have ended. SQLite does not reorder a cross join: the ended instances are too many to
-- read all.
select instance.instance_id
from json_each(:ids) as named
cross join romancy_instances as instance on instance.instance_id = named.value
where
    instance.status in ('completed', 'failed', 'cancelled')
    and instance.status in (select value from json_each(:statuses))
    and instance.updated_at <= :until
limit :limit;

-- name: prune_instances (ids)
-- Remove ended instances.
delete from romancy_instances where instance_id in (select value from json_each(:ids));

-- name: prune_log (ids)
-- Remove their logs, of any life.
delete from romancy_log where instance_id in (select value from json_each(:ids));

-- name: prune_journal (ids)
-- Remove what was logged about them.
delete from romancy_journal where instance_id in (select value from json_each(:ids));

-- name: prune_inbox (ids)
-- Remove messages that will never be read.
delete from romancy_inbox where instance_id in (select value from json_each(:ids));

-- name: drop_index (ids)
-- Remove their index rows.
delete from romancy_index where instance_id in (select value from json_each(:ids));

-- name: former_runs (limit) -> instance_id, life, run_from
-- Instances that still have rows of finished runs.
select instance_id, life, run_from from romancy_instances where kept_from < run_from limit :limit;

-- name: drop_former_runs (runs(instance_id, life, run_from))
-- Remove those rows.
delete from romancy_log
where (instance_id, life, seq) in (
    select log.instance_id, log.life, log.seq
    from json_each(:runs) as run
    cross join romancy_log as log
        on log.instance_id = json_extract(run.value, '$[0]')
        and log.life = json_extract(run.value, '$[1]')
        and log.seq < json_extract(run.value, '$[2]')
);

-- name: former_streams (runs(instance_id, life, run_from), streams, late) -> instance_id, life, number
-- The last rows that such runs have written to streams. The newest row stays: the next one is numbered behind it.
select log.instance_id, log.life, max(line.number)
from json_each(:runs) as run
cross join romancy_log as log
    on log.instance_id = json_extract(run.value, '$[0]')
    and log.life = json_extract(run.value, '$[1]')
    and log.seq = json_extract(run.value, '$[2]')
cross join romancy_journal as line
    on line.instance_id = log.instance_id
    and line.life = log.life
    and line.number > :streams
    and line.number < (
        select max(newest.number) from romancy_journal as newest
        where newest.instance_id = log.instance_id and newest.life = log.life
    )
where line.at < log.at - :late
group by log.instance_id, log.life;

-- name: mark_dropped_runs (runs(instance_id))
-- Record that they are removed.
update romancy_instances set kept_from = run_from
where instance_id in (select json_extract(value, '$[0]') from json_each(:runs));

-- name: forget_instances (ids)
-- Forget which messages these instances got.
delete from romancy_seen where unit in (select value from json_each(:ids)) and life <> 0;

-- name: prune_seen (before, limit)
-- Remove old dedupe keys, up to a limit.
delete from romancy_seen
where (unit, life, dedupe) in (select unit, life, dedupe from romancy_seen where at < :before limit :limit);

-- name: prune_workers ()
-- Remove dead workers that own nothing.
delete from romancy_workers
where dead = 1 and not exists (select 1 from romancy_instances where owner = romancy_workers.token);

-- name: workflow_names (part) -> workflow_name
-- The names of workflows that contain some folded text, each read once from the index however many instances it has.
with recursive names (name) as (
    select min(workflow_name) from romancy_instances
    union all
    select (select min(workflow_name) from romancy_instances where workflow_name > names.name)
    from names
    where names.name is not null
)
select name from names where instr(lower(name), lower(:part)) > 0;

-- name: undeclared (path) -> workflow_name
-- The workflows that have used a set of declared paths without this path.
select distinct workflow_name from romancy_index_sets
where instr(char(10) || paths || char(10), char(10) || :path || char(10)) = 0;

-- name: other_sets (path, names) -> workflow_name, paths
-- The sets of declared paths that do not contain this path, and the workflows that have used them. The names, if they
-- are not null, are those of the only workflows to look at.
select workflow_name, paths from romancy_index_sets
where
    (:names is null or workflow_name in (select value from json_each(:names)))
    and instr(char(10) || paths || char(10), char(10) || :path || char(10)) = 0;

-- name: find_by_value
-- Instances with a value at a declared path. The adapter fills in the columns, the conditions, and the order of a page
-- with its limit, here and in those that follow.
select {columns}
from romancy_index as x cross join romancy_instances as i on i.instance_id = x.instance_id
where x.path = ? and x.value = ? and {conditions}
{page};

-- name: find_by_values
-- The same for many values.
select {columns}
from romancy_index as x cross join romancy_instances as i on i.instance_id = x.instance_id
where x.path = ? and x.value in (select value from json_each(?)) and {conditions}
{page};

-- name: find_by_set
-- Instances with the same declared paths.
select {columns}
from romancy_instances as i indexed by romancy_instances_paths
where i.index_paths = ? and {conditions}
{page};

-- name: find_by_sets
-- The same for many sets.
select {columns}
from romancy_instances as i indexed by romancy_instances_paths
where i.index_paths in (select value from json_each(?)) and {conditions}
{page};

-- name: find_in_group
-- A condition of a search: the instance is in this group of failures.
exists (
    select 1 from romancy_interests f where f.owner = i.instance_id and f.life = i.life and f.interest_id = ?
);

-- name: find_by_status
-- Instances of one status.
select {columns}
from romancy_instances as i indexed by romancy_instances_status
where i.status = ? and {conditions}
{page};

-- name: find_by_name
-- Instances of one workflow.
select {columns}
from romancy_instances as i indexed by romancy_instances_workflow
where i.workflow_name = ? and {conditions}
{page};

-- name: find_by_names
-- The same for many workflows.
select {columns}
from romancy_instances as i indexed by romancy_instances_newest
where i.workflow_name in (select value from json_each(?)) and {conditions}
{page};

-- name: find_by_end
-- Ended instances by the time of their end. The index has no order for pages.
select {columns}
from romancy_instances as i indexed by romancy_instances_ended
where i.status in ('completed', 'failed', 'cancelled') and {conditions}
{page};

-- name: find_by_parent
-- Instances of one parent.
select {columns}
from romancy_instances as i indexed by romancy_instances_parent
where i.parent = ? and {conditions}
{page};

-- name: find_by_ids
-- Instances with some ids.
select {columns}
from json_each(?) as wanted cross join romancy_instances as i on i.instance_id = wanted.value
where {conditions}
{page};

-- name: find_anywhere
-- Any instances, in no order: to count them.
select {columns}
from romancy_instances as i not indexed
where {conditions}
{page};

-- name: find_any
-- Any instances.
select {columns}
from romancy_instances as i indexed by romancy_instances_newest
where {conditions}
{page};

-- name: renew
-- A heartbeat by a session's commit: while the session was open, no heartbeat could be written.
update romancy_workers set beat = beat + 1, beat_at = ? where token = ? and dead = 0;

-- name: begin_writing
-- Begin a joined transaction.
begin immediate;

-- name: lock_file
-- Turn a joined transaction that may only have read into a writing one. Changes nothing.
delete from romancy_seen where false;
