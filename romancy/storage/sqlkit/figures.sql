-- Counts for displays, each from a bounded part of an index.

-- name: tally (most) -> status, number, oldest
-- Up to so many instances of each status, with the oldest of all of them.
-- each: status
select
    :status as status,
    (
        select count(*)
        from (
            select 1 from romancy_instances {by_status}
            where status {only :status} {as_if_newest status}
            limit :most
        ) counted
    ) as number,
    (
        select created_at from romancy_instances {by_status}
        where status {only :status}
        order by {within status desc} created_at, instance_id
        limit 1
    ) as oldest;

-- name: newest (count, since, width) -> workflow_name, status, span, number
-- So many of the newest instances by workflow, status and the time after another one in which they were started, rounded
-- down to whole widths. Those that were started before it have the span -1.
select
    n.workflow_name, n.status, case when n.since < 0 then -1 else n.since - n.since % :width end as span,
    count(*) as number
from (
    select workflow_name, status, created_at - :since as since from romancy_instances {by_age}
    order by created_at desc, instance_id desc
    limit :count
) n
group by n.workflow_name, n.status, span;

-- name: open_work (most, due_by) -> workflow_name, status, number, oldest, due
-- So many of the oldest instances of each open status, by workflow, with the oldest of each, and how many are due.
-- each: open status
select o.workflow_name, :status as status, count(*) as number, min(o.created_at) as oldest, count(o.due) as due
from (
    select
        workflow_name, created_at, case when owner is null and wake_at <= :due_by then 1 end as due
    from romancy_instances {by_status}
    where status {only :status}
    order by {within status desc} created_at, instance_id
    limit :most
) o
group by o.workflow_name;

-- name: trend (since, width, most) -> status, span, number
-- The newest instances of each status since a time, by the time after it in which they were started, rounded down to
-- whole widths.
-- each: status
select :status as status, s.since - s.since % :width as span, count(*) as number
from (
    select created_at - :since as since from romancy_instances {by_status}
    where status {only :status} and created_at >= :since
    order by {within status} created_at desc, instance_id desc
    limit :most
) s
group by span;

-- name: tally_slice (at, instance_id, count, behind, width) -> workflow_name, status, span, number, created_at,
-- instance_id
-- So many instances behind another one, newest first, by workflow, status and the time of their start, rounded down to
-- whole widths; and the last of them.
select g.workflow_name, g.status, g.span, g.number, l.created_at, l.instance_id
from (
    select n.workflow_name, n.status, n.created_at - n.created_at % :width as span, count(*) as number
    from (
        select workflow_name, status, created_at from romancy_instances {by_age}
        where (created_at, instance_id) < (:at, :instance_id) and created_at <= :at
        order by created_at desc, instance_id desc
        limit :count
    ) n
    group by n.workflow_name, n.status, span
) g
left join (
    select created_at, instance_id from romancy_instances {by_age}
    where (created_at, instance_id) < (:at, :instance_id) and created_at <= :at
    order by created_at desc, instance_id desc
    limit 1 offset :behind
) l on true;

-- name: pace (since, width, most) -> kind, workflow_name, status, span, number, oldest
-- What has begun and what has ended since a time, by workflow and by the time after it, rounded down to whole widths: the
-- newest of each, at most so many. What only was in the index beside what has ended is here too, with other statuses, or
-- with a span before that time.
select
    'begun' as kind, n.workflow_name, '' as status, n.since - n.since % :width as span, count(*) as number,
    min(n.since) as oldest
from (
    select workflow_name, created_at - :since as since from romancy_instances {by_age}
    where created_at >= :since
    order by created_at desc, instance_id desc
    limit :most
) n
group by n.workflow_name, span
union all
select
    'ended' as kind, e.workflow_name, e.status,
    case when e.since < 0 then -1 else e.since - e.since % :width end as span, count(*) as number,
    min(e.looked) as oldest
from (
    select workflow_name, status, updated_at - :since as since, {end} - :since as looked
    from romancy_instances {by_end}
    where {end} >= :since {ended}
    order by {end} desc
    limit :most
) e
group by e.workflow_name, e.status, span;
