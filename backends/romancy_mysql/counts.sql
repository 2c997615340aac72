-- Counts for displays, each from a bounded part of an index, the ends of slices of the order of pages, and what is stored
-- beside the logs.

-- name: place_behind
-- The instance that many places behind another one, newest first.
select created_at, instance_id from romancy_instances force index (by_age)
where created_at <= :at and (created_at < :at or instance_id < :instance_id)
order by created_at desc, instance_id desc
limit 1 offset :behind

-- name: tally_newest
-- The newest instances by workflow and status, with the oldest of each.
select n.workflow_name, n.status, count(*), min(n.created_at)
from (
    select workflow_name, status, created_at from romancy_instances force index (by_age)
    order by created_at desc, instance_id desc
    limit :newest
) n
group by n.workflow_name, n.status

-- name: trend_status
-- The newest instances of a status since a time, by the span in which they were started.
select (c.created_at - :since) div :width as span, count(*)
from (
    select created_at from romancy_instances force index (by_status)
    where status = :status and created_at >= :since
    order by created_at desc, instance_id desc
    limit :most
) c
group by span

-- name: trend_newest
-- The newest instances since a time, by workflow, status and span.
select n.workflow_name, n.status, (n.created_at - :since) div :width as span, count(*)
from (
    select workflow_name, status, created_at from romancy_instances force index (by_age)
    where created_at >= :since
    order by created_at desc, instance_id desc
    limit :newest
) n
group by n.workflow_name, n.status, span

-- name: tally_slice
-- So many instances behind another one, newest first, by workflow, status and span; and the last of them.
select g.workflow_name, g.status, g.span, g.number, l.created_at, l.instance_id
from (
    select n.workflow_name, n.status, n.created_at div :width as span, count(*) as number
    from (
        select workflow_name, status, created_at from romancy_instances force index (by_age)
        where created_at <= :at and (created_at < :at or instance_id < :instance_id)
        order by created_at desc, instance_id desc
        limit :count
    ) n
    group by n.workflow_name, n.status, n.created_at div :width
) g
left join (
    select created_at, instance_id from romancy_instances force index (by_age)
    where created_at <= :at and (created_at < :at or instance_id < :instance_id)
    order by created_at desc, instance_id desc
    limit 1 offset :behind
) l on true

-- name: load
-- Up to so many instances of a worker.
select count(*) from (select 1 from romancy_instances force index (owned) where owner = :owner limit :most) c

-- name: tally_status
-- Up to so many instances of a status, and the oldest of all of them.
select
    (select count(*) from (select 1 from romancy_instances force index (by_status) where status = :status limit :most) c),
    (select min(created_at) from romancy_instances force index (by_status) where status = :status)

-- name: some_lives
-- The next ids that have a log: one probe each.
with recursive ids (id, n) as (
    select min(instance_id), 1 from romancy_log where instance_id > :after
    union all
    select (select min(l.instance_id) from romancy_log l where l.instance_id > ids.id), ids.n + 1
    from ids
    where ids.id is not null and ids.n < :limit
)
select id from ids where id is not null order by id

-- name: some_rows
-- What is stored of some instances beside their logs.
select :columns, i.projection, i.index_paths, s.paths
from romancy_instances i
left join romancy_index_sets s on s.workflow_name = i.workflow_name and s.index_paths = i.index_paths
where i.instance_id in (:ids)

-- name: some_index
-- Their rows of the index.
select x.instance_id, x.path, x.value, x.created_at from romancy_index x where x.instance_id in (:ids)

-- name: last_life
-- The life whose log was written last, of an instance without a row.
select l.life from romancy_log l where l.instance_id = :instance_id order by l.at desc, l.seq desc limit 1

-- name: log_of_life
-- Some rows of the log of a life, which may have no instance.
select l.seq, l.writer, l.body, l.at from romancy_log l
where l.instance_id = :instance_id and l.life = :life and l.seq > :after
order by l.seq
limit :limit

-- name: hold_runs
-- Those of these instances that are still of this life and in this run, locked.
select i.instance_id
from :source romancy_instances i
where i.instance_id = :instance_id and i.life = :life and i.run_from = :run_from
for update

-- name: restore_instance
-- A row that was lost, if it has not come back and nothing was written to its log meanwhile.
insert into romancy_instances
    (instance_id, life, workflow_name, status, code, created_at, updated_at, error, parent, run_from, last_seq, input,
     wake_at, touched_at, signals, seen)
select :instance_id, :life, :workflow_name, :status, :code, :created_at, :updated_at, :error, :parent, :run_from,
    :last_seq, :input,
    if(:ended, null, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)),
    m.counted, if(:ended, m.counted, 0)
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

-- name: renew_projections
-- What searches read of instances, which this transaction has locked.
update :source romancy_instances i
set i.projection = :projection, i.index_paths = :index_paths
where i.instance_id = :instance_id
