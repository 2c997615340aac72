-- Counts for displays, each from a bounded part of an index, the ends of slices of the order of pages, and what is stored
-- beside the logs.

-- name: load (worker, most) -> number
-- Up to so many instances of a worker.
select count(*) from (select 1 from romancy_instances force index (owned) where owner = :worker limit :most) counted

-- name: some_lives (after, limit) -> instance_id
-- The next ids that have a log: one probe each.
with recursive ids (id, n) as (
    select min(instance_id), 1 from romancy_log where instance_id > :after
    union all
    select (select min(l.instance_id) from romancy_log l where l.instance_id > ids.id), ids.n + 1
    from ids
    where ids.id is not null and ids.n < :limit
)
select id from ids where id is not null order by id

-- name: some_rows (ids) -> {instance}, projection, index_paths, members
-- What is stored of some instances beside their logs.
select {instance i}, i.projection, i.index_paths, s.paths
from romancy_instances i
left join romancy_index_sets s on s.workflow_name = i.workflow_name and s.index_paths = i.index_paths
where i.instance_id in (:ids)

-- name: some_index (ids) -> instance_id, path, value, created_at
-- Their rows of the index.
select x.instance_id, x.path, x.value, x.created_at from romancy_index x where x.instance_id in (:ids)

-- name: last_life (instance_id) -> life, instance_id
-- The life whose log was written last, of an instance without a row.
select l.life, l.instance_id from romancy_log l where l.instance_id = :instance_id order by l.at desc, l.seq desc limit 1

-- name: log_of_life (instance_id, life, after, limit) -> seq, writer, body, at
-- Some rows of the log of a life, which may have no instance.
select l.seq, l.writer, l.body, l.at from romancy_log l
where l.instance_id = :instance_id and l.life = :life and l.seq > :after
order by l.seq
limit :limit

-- name: hold_runs (runs(instance_id, life, run_from)) -> instance_id
-- Those of these instances that are still of this life and in this run, locked.
select i.instance_id
from :source romancy_instances i
where i.instance_id = :instance_id and i.life = :life and i.run_from = :run_from
for update

-- name: restore_instance (instance_id, life, status, created_at, updated_at, error, parent, run_from, last_seq, input,
-- ended, due, mail, {given})
-- A row that was lost, if it has not come back and nothing was written to its log meanwhile.
insert into romancy_instances
    (instance_id, life, {given}, status, created_at, updated_at, error, parent, run_from, last_seq, input,
     wake_at, touched_at, signals, seen)
select :instance_id, :life, {given :}, :status, :created_at, :updated_at, :error, :parent, :run_from, :last_seq, :input,
    if(:ended or :due < 0, null, greatest(timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)), :due)),
    if(:ended, :updated_at, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    m.counted + :mail, if(:ended, m.counted + :mail, 0)
from (
    select coalesce(max(x.number), 0) as counted from romancy_inbox x
    where x.instance_id = :instance_id and x.number < 9223372036854775807
) m
where exists (
        select 1 from romancy_log l where l.instance_id = :instance_id and l.life = :life and l.seq = :last_seq
    )
    and not exists (
        select 1 from romancy_log l where l.instance_id = :instance_id and l.life = :life and l.seq > :last_seq
    )
on duplicate key update life = romancy_instances.life

-- name: log_add (lines(instance_id, life, seq, writer, body, at))
-- Write rows of logs. One that is there stays.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select :instance_id, :life, :seq, :writer, :body, :at from :source (select 1) one where true
on duplicate key update seq = romancy_log.seq

-- name: mail_add (lines(instance_id, delivery_id, body, at, number, address, interest, spread, projection, posted_at))
-- Put messages into inboxes, as counted ones. One that is there stays.
insert into romancy_inbox
    (instance_id, delivery_id, body, at, number, address, interest, spread, projection, posted_at)
select :instance_id, :delivery_id, :body, :at, :number, :address, :interest, :spread, :projection, :posted_at
from :source (select 1) one where true
on duplicate key update delivery_id = romancy_inbox.delivery_id

-- name: renew_projections (renewed(instance_id, projection, index_paths))
-- What searches read of instances, which this transaction has locked.
update :source romancy_instances i
set i.projection = :projection, i.index_paths = :index_paths
where i.instance_id = :instance_id
