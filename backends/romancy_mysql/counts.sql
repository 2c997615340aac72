-- Counts for displays, each from a bounded part of an index, and the ends of slices of the order of pages.

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
