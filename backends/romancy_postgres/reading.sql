-- Reading an instance with its log, and searches.

-- name: read
-- An instance and a page of its current life's log: at most $3 rows, and no more than $4 bytes behind the first row.
select {instance i}, page.seqs, page.writers, page.bodies, page.ats, page.more
from romancy_instances i
left join lateral (
    select array_agg(r.seq order by r.seq) filter (where r.fits) as seqs,
           array_agg(r.writer order by r.seq) filter (where r.fits) as writers,
           array_agg(r.body order by r.seq) filter (where r.fits) as bodies,
           array_agg(r.at order by r.seq) filter (where r.fits) as ats,
           bool_or(not r.fits) as more
    from (
        select l.seq, l.writer, l.body, l.at,
               row_number() over w <= $3
               and (row_number() over w = 1 or sum(octet_length(l.body)) over w <= $4) as fits
        from (
            select seq, writer, body, at from romancy_log
            where instance_id = i.instance_id and life = i.life and seq > $2
            order by seq limit $3::bigint + 1
        ) l
        window w as (order by l.seq)
    ) r
) page on true
where i.instance_id = $1;

-- name: workflow_names (part) -> workflow_name
-- All names of workflows that have instances and contain some folded text, one index probe each.
with recursive known as (
    (select workflow_name from romancy_instances order by workflow_name limit 1)
    union all
    select (select i.workflow_name from romancy_instances i
            where i.workflow_name > known.workflow_name order by i.workflow_name limit 1)
    from known
    where known.workflow_name is not null
)
select workflow_name from known where strpos(lower(workflow_name collate "C"), $1) > 0;

-- name: find_in_group
-- A condition of a search: the instance is in this group of failures.
exists (
    select from romancy_interests f where f.owner = i.instance_id and f.life = i.life and f.interest_id = {group}
);

-- name: find_any
-- A page of instances. The columns, the conditions, the order of pages and their limit replace the braces, as in those
-- that follow.
select {columns} from romancy_instances i
where {conditions}
order by {order}
limit {limit};

-- name: find_by_end
-- The same by the time of the end. The page is sorted after the index of the ends was read: a planner that could walk all
-- instances, newest first, would expect to find matches soon.
with ended as materialized (
    select i.* from romancy_instances i
    where i.status in ('completed', 'failed', 'cancelled') and {conditions}
)
select {columns} from ended i
order by {order}
limit {limit};

-- name: find_by_ids
-- The same for some ids, each looked up by itself: a planner cannot prefer to walk all instances.
select {columns}
from (
    select found.*
    from unnest({ids}::text[]) as wanted (instance_id)
    cross join lateral (
        select i.* from romancy_instances i where i.instance_id = wanted.instance_id and {conditions} limit 1
    ) found
) i
order by {order}
limit {limit};

-- name: find_some
-- The same for some statuses or some workflows: a page of each, read in the order of an index. If one column alone
-- decides, its branches compare it by `any` with one value and order by it. The planner then cannot prefer to walk all
-- instances, newest first, until it has found enough matches: statistics do not know that the matches may be the
-- oldest.
select {columns} from (
{branches}
) i
order by {order}
limit {limit};

-- name: find_branch
-- One of these pages.
(select i.* from romancy_instances i
 where {branch} and {conditions}
 order by {leading}{order}
 limit {limit});

-- name: other_sets (path, names) -> workflow_name, paths
-- The sets of declared paths that do not contain this path, and the workflows that have used them. $2, if not null, are
-- the only workflows to look at.
select workflow_name, paths from romancy_index_sets
where $1 <> all (members) and ($2::text[] is null or workflow_name = any ($2));

-- name: undeclared (path) -> workflow_name
-- The workflows that have used a set of declared paths without this path.
select distinct workflow_name from romancy_index_sets where $1 <> all (members);

-- name: last_commits (keys(instance_id, life, seq)) -> instance_id, seq, writer, body, at
-- Rows of logs by their keys.
select l.instance_id, l.seq, l.writer, l.body, l.at
from unnest($1::text[], $2::bigint[], $3::bigint[]) as one (instance_id, life, seq)
cross join lateral (
    select * from romancy_log l
    where l.instance_id = one.instance_id collate "C" and l.life = one.life and l.seq = one.seq
    limit 1
) l;

-- name: find_by_index
-- The same for some values of a declared path. Instances that were started without declaring it have no index row. They
-- are searched separately, a page for each set of declared paths and, if workflows are named, for each of those that
-- have used it. The sets are parameters, so that the planner can know how many instances each has.
select {columns}
from (
    (select found.*
     from unnest({values}::text[]) as wanted (value)
     cross join lateral (
         select i.*
         from romancy_index x join romancy_instances i using (instance_id)
         where x.path = {path} and x.value = wanted.value and {position} and {conditions}
         order by {order_of_values}
         limit {limit}
     ) found)
{branches}) i
order by {order}
limit {limit};

-- name: count_any
-- How many instances match, by workflow and status.
select i.workflow_name, i.status, count(*) from romancy_instances i
where {conditions}
group by i.workflow_name, i.status;

-- name: count_by_ids
-- The same for some ids, each looked up by itself.
select found.workflow_name, found.status, count(*)
from unnest({ids}::text[]) as wanted (instance_id)
cross join lateral (
    select i.workflow_name, i.status from romancy_instances i
    where i.instance_id = wanted.instance_id and {conditions} limit 1
) found
group by found.workflow_name, found.status;

-- name: count_by_index
-- The same for some values of a declared path, and for the instances that were started without declaring it.
select found.workflow_name, found.status, count(*)
from (
    select i.workflow_name, i.status
    from romancy_index x join romancy_instances i using (instance_id)
    where x.path = {path} and x.value = any ({values}::text[]) and {position} and {conditions}
    union all
    select i.workflow_name, i.status from romancy_instances i
    where {others} and {conditions}
) found
group by found.workflow_name, found.status;
