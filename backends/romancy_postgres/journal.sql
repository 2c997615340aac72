-- What user code has logged about instances, and what their streams hold.

-- name: journal_ends (ids, low, high) -> instance_id, life, owner, first, last, size, mark,
-- status, updated_at
-- The numbers of the first and the last line of instances in a range, and the size and the mark of the last; 0: there
-- is none. The lock only keeps instances from being removed. Who changes them does not wait for it.
select i.instance_id, i.life, i.owner,
    coalesce((
        select j.number from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between $2 and $3
        order by j.number
        limit 1
    ), 0) as first,
    coalesce((
        select j.number from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between $2 and $3
        order by j.number desc
        limit 1
    ), 0) as last,
    coalesce((
        select length(j.body) from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between $2 and $3
        order by j.number desc
        limit 1
    ), 0) as size,
    (
        select j.mark from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between $2 and $3
        order by j.number desc
        limit 1
    ) as mark,
    i.status, i.updated_at
from romancy_instances i
where i.instance_id = any ($1::text[])
order by i.instance_id
for key share of i;

-- name: journal_add (lines(instance_id, life, number, mark, at, body))
-- Write lines. A number that is taken is left out.
insert into romancy_journal (instance_id, life, number, mark, at, body)
select instance_id, life, number, mark, at, body
from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bytea[])
    as t (instance_id, life, number, mark, at, body)
on conflict do nothing;

-- name: journal_cut (cuts(instance_id, life, number), low)
-- Remove the oldest lines behind a number, up to another one.
delete from romancy_journal j
using unnest($1::text[], $2::bigint[], $3::bigint[]) as t (instance_id, life, number)
where j.instance_id = t.instance_id and j.life = t.life and j.number > $4 and j.number <= t.number;

-- name: streams_behind (places(instance_id, life, number), limit) -> instance_id, life, last, number,
-- mark, at, body
-- What the streams of some lives hold, each behind a number, and how far the logs of their instances are.
select i.instance_id, i.life, log.last, line.number, line.mark, line.at, line.body
from unnest($1::text[], $2::bigint[], $3::bigint[]) as t (instance_id, life, number)
join romancy_instances i on i.instance_id = t.instance_id
cross join lateral (
    select max(l.seq) as last from romancy_log l where l.instance_id = i.instance_id and l.life = i.life
) as log
left join lateral (
    select j.number, j.mark, j.at, j.body
    from romancy_journal j
    where j.instance_id = i.instance_id and j.life = i.life and j.life = t.life and j.number > t.number
    order by j.number
    limit $4
) as line on true
order by i.instance_id, line.number
limit $4;
