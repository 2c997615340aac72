-- Statements that write and deliver, by name; commits.sql, claims.sql, reading.sql and upkeep.sql hold the rest. Tables
-- are written with the prefix romancy_, which the loader replaces.
--
-- Rules for all statements: existing instance rows are locked before anything else is written, in the order of their
-- ids, then log keys, new instances, inbox, outbox and the rest, each in the order of its key. After a wait for a row,
-- the row is read again. Arrays carry a whole batch, so the number of statements never depends on its size.

-- name: append_one
-- A lone step. It is accepted if the place is free, the row before is by the writer $7 (null: any writer), and
-- the worker $1 is alive.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select $2::text, $3::bigint, $4::bigint, $5::text, $6::bytea, romancy_now()
where exists (select from romancy_workers where token = $1 and not dead)
  and ($7::text is null or (select p.writer from romancy_log p
                            where p.instance_id = $2 and p.life = $3 and p.seq = $4 - 1) = $7)
on conflict do nothing;

-- name: append_alone
-- A step of a session that does not see what was committed after its first statement. It is accepted if the place
-- is free. `may_follow` looks at the rest, on another connection.
insert into romancy_log (instance_id, life, seq, writer, body, at)
values ($1::text, $2::bigint, $3::bigint, $4::text, $5::bytea, romancy_now())
on conflict do nothing;

-- name: may_follow
-- Whether the worker is alive, and the row before the place is by the writer $5 (null: any writer).
select exists (select from romancy_workers where token = $1 and not dead)
   and ($5::text is null or coalesce((select p.writer from romancy_log p
                                      where p.instance_id = $2 and p.life = $3 and p.seq = $4 - 1) = $5, false));

-- name: append_many
-- A batch of steps. The row before each is looked up by its key: the server might answer an EXISTS from a hash
-- of the whole log.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select t.instance_id, t.life, t.seq, t.writer, t.body, romancy_now()
from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::text[])
     as t (instance_id, life, seq, writer, body, after)
where exists (select from romancy_workers where token = $1 and not dead)
  and (t.after is null or (select p.writer from romancy_log p
                           where p.instance_id = t.instance_id and p.life = t.life and p.seq = t.seq - 1) = t.after)
on conflict do nothing;

-- name: renew_runs (runs(instance_id, run_from, input, projection, index_paths, members))
-- For instances that continued as new, the new run's input takes the place of the old one's. Their sets of declared
-- paths become known in the same commit; $6 are the members of each, one a line.
with renewed as (
    select *
    from unnest($1::text[], $2::bigint[], $3::bytea[], $4::text[], $5::text[], $6::text[])
         as t (instance_id, run_from, input, projection, index_paths, members)
), known as (
    insert into romancy_index_sets (workflow_name, paths, members)
    select distinct i.workflow_name, renewed.index_paths, string_to_array(renewed.members, E'\n')
    from renewed join romancy_instances i using (instance_id)
    where renewed.index_paths is not null
      and not exists (select from romancy_index_sets s
                      where s.workflow_name = i.workflow_name and s.paths = renewed.index_paths)
    order by 1, 2
    on conflict do nothing
), forgotten as (
    delete from romancy_index x using renewed
    where x.instance_id = renewed.instance_id and renewed.index_paths is not null
)
update romancy_instances i
set run_from = renewed.run_from,
    input = coalesce(renewed.input, i.input),
    projection = renewed.projection::jsonb,
    index_paths = coalesce(renewed.index_paths, i.index_paths)
from renewed
where i.instance_id = renewed.instance_id;

-- name: index_renewed (index(instance_id, path, value))
-- The index rows of a new run, after `renew_runs` removed the old ones.
insert into romancy_index (path, value, created_at, instance_id)
select x.path, x.value, i.created_at, x.instance_id
from unnest($1::text[], $2::text[], $3::text[]) as x (instance_id, path, value)
join romancy_instances i using (instance_id);

-- name: index_sets
-- Record sets of declared paths of workflows. $3 are the members of each, one a line.
insert into romancy_index_sets (workflow_name, paths, members)
select workflow_name, paths, string_to_array(members, E'\n')
from unnest($1::text[], $2::text[], $3::text[]) as t (workflow_name, paths, members)
order by workflow_name collate "C", paths collate "C"
on conflict do nothing;

-- name: start
-- New instances, each with the first row of its log and its index rows, if the id is free and the owner alive. The
-- answer names those that were created, unless all were.
with item as materialized (
    select *
    from unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bytea[], {given $17})
         as t (instance_id, life, writer, body, input, projection, index_paths, parent, status, owner, wake_at, delay,
               error, {given})
), clock as materialized (
    select romancy_now() as now
), :part_create
select case when (select count(*) from made) < cardinality($1::text[])
            then coalesce((select array_agg(instance_id) from made), '{}') end;

-- name: explain_appends
-- What appends found that were not accepted: the writers at each place and at the one before, whether the worker is alive,
-- the instance's row, and how many of the messages to be consumed ($5, $6) are there.
with mail as materialized (
    select m.instance_id, count(*) as found
    from unnest($5::text[], $6::text[]) as m (instance_id, delivery_id)
    join romancy_inbox using (instance_id, delivery_id)
    group by m.instance_id
)
select t.n, l.writer, p.writer as before, exists (select from romancy_workers where token = $1 and not dead) as alive,
       i.life, i.status, i.signals, i.owner is not null as owned,
       coalesce(mail.found, 0) as found
from unnest($2::text[], $3::bigint[], $4::bigint[]) with ordinality as t (instance_id, life, seq, n)
left join romancy_log l using (instance_id, life, seq)
left join romancy_log p on p.instance_id = t.instance_id and p.life = t.life and p.seq = t.seq - 1
left join romancy_instances i on i.instance_id = t.instance_id
left join mail on mail.instance_id = t.instance_id
order by t.n;

-- name: explain_firsts
-- What first appends found that were not accepted: the instance that has the id, who wrote the first row of this life, and
-- whether the owner is alive.
select t.n, i.life, i.status, l.writer as first,
       exists (select from romancy_workers w where w.token = t.owner and not w.dead) as alive
from unnest($1::text[], $2::bigint[], $3::text[]) with ordinality as t (instance_id, life, owner, n)
left join romancy_log l on l.instance_id = t.instance_id and l.life = t.life and l.seq = 1
left join romancy_instances i on i.instance_id = t.instance_id
order by t.n;

-- name: deliver
-- Insert messages into inboxes. For each, in order: whether it was inserted, and the status of its instance. Targets are
-- locked first, so each decision is made on the present row, and the counter moves in the same commit as the rows that it
-- counts. Their numbers are above the counter before, and not above the counter after.
with message as materialized (
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[])
                  with ordinality as t (instance_id, delivery_id, body, dedupe, n)
), held as materialized (
    select instance_id, life, signals, status, status in ('completed', 'failed', 'cancelled') as over
    from romancy_instances
    where instance_id = any ($1)
    order by instance_id
    for no key update
), receiver as materialized (
    select *, romancy_now() as now from held
), :part_deliver
select held.status, delivered.instance_id is not null as accepted
from message m
left join held using (instance_id)
left join fresh on fresh.n = m.n
left join delivered on delivered.instance_id = fresh.instance_id and delivered.delivery_id = fresh.delivery_id
order by m.n;

-- name: post
-- Insert messages into inboxes inside a session, whose transaction must not block the rows of other instances. Its lock
-- only keeps them from being pruned. The counter moves afterwards (`count_mail`), or else with the next sweep.
with message as materialized (
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[])
                  with ordinality as t (instance_id, delivery_id, body, dedupe, n)
), target as materialized (
    select instance_id, life, status, status in ('completed', 'failed', 'cancelled') as closed
    from romancy_instances
    where instance_id = any ($1)
    order by instance_id
    for key share
), fitting as materialized (
    select distinct on (m.instance_id, coalesce(m.dedupe, ''), case when m.dedupe is null then m.n end)
           m.*, target.life, romancy_now() as now,
           case when m.dedupe is not null
                then (select true from romancy_inbox i
                      where i.instance_id = m.instance_id and i.delivery_id = m.delivery_id) end as known
    from message m join target using (instance_id)
    where not target.closed
    order by m.instance_id, coalesce(m.dedupe, ''), case when m.dedupe is null then m.n end, known nulls first, m.n
), keyed as (
    insert into romancy_seen (unit, life, dedupe, at)
    select f.instance_id, f.life, f.dedupe, f.now
    from fitting f
    where f.dedupe is not null and f.known is null
    order by f.instance_id collate "C", f.dedupe collate "C"
    on conflict do nothing
    returning unit, dedupe
), fresh as materialized (
    select f.*
    from fitting f
    where f.dedupe is null or (f.instance_id, f.dedupe) in (select unit, dedupe from keyed)
), taken as (
    insert into romancy_inbox (instance_id, delivery_id, body, at, counted)
    select instance_id, delivery_id, body, now, false
    from fresh
    order by instance_id collate "C", delivery_id collate "C"
    on conflict do nothing
    returning instance_id, delivery_id
)
select target.status, taken.instance_id is not null as accepted
from message m
left join target using (instance_id)
left join fresh on fresh.n = m.n
left join taken on taken.instance_id = fresh.instance_id and taken.delivery_id = fresh.delivery_id
order by m.n;

-- name: count_mail
-- Count messages that a session has posted. Messages consumed in the meantime need no counting. (Each message brings
-- the count of its instance along: the server would join two lists by comparing every row with every other.)
with held as materialized (
    select t.instance_id, t.delivery_id, x.signals
    from (select * from unnest($1::text[], $2::text[]) as t (instance_id, delivery_id)
          order by instance_id collate "C" offset 0) t
    cross join lateral (
        select i.signals from romancy_instances i where i.instance_id = t.instance_id for no key update
    ) x
), marked as (
    update romancy_inbox m set counted = true, number = held.signals + 1
    from held
    where m.instance_id = held.instance_id and m.delivery_id = held.delivery_id and not m.counted
    returning m.instance_id
), new as materialized (
    select instance_id, count(*) as mail, romancy_now() as now from marked group by instance_id
)
update romancy_instances i
set signals = i.signals + new.mail,
    wake_at = case when i.owner is null and i.status not in ('completed', 'failed', 'cancelled', 'stuck', 'paused')
                   then least(i.wake_at, new.now) else i.wake_at end
from new
where i.instance_id = new.instance_id
returning i.instance_id;

-- name: loads (workers, most) -> worker, number
-- Up to so many instances of each worker.
select each.worker, counted.number
from unnest($1::text[]) as each (worker)
cross join lateral (
    select count(*) as number
    from (select 1 from romancy_instances i where i.owner = each.worker limit $2) owned
) counted;
