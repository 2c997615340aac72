-- What writes, claims and delivers, by name; reading.sql and upkeep.sql hold the rest. Tables are written with the
-- prefix romancy_, which the loader replaces.
--
-- Rules that hold throughout: existing instance rows are locked before anything else is written, in the order of
-- their ids, then log keys, new instances, inbox, outbox and the rest, each in the order of its key. A row that was
-- waited for is read as it is then. Arrays carry a whole batch, so the number of statements never depends on its size.

-- name: append_one
-- A lone plain append: accepted where the place is free and the writer's worker is alive.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select $2::text, $3::bigint, $4::bigint, $5::text, $6::bytea, romancy_now()
where exists (select from romancy_workers where token = $1 and not dead)
on conflict do nothing;

-- name: append_many
-- A batch of plain appends.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select t.instance_id, t.life, t.seq, t.writer, t.body, romancy_now()
from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[])
     as t (instance_id, life, seq, writer, body)
where exists (select from romancy_workers where token = $1 and not dead)
on conflict do nothing;

-- name: append_changes
-- Appends that change their instances' rows or take mail. Each is decided on its locked row, and only then written:
-- the life must be the row's, a terminal status must have seen all deliveries, all mail to be taken must be there.
-- $17 are all instances to lock: theirs, and those that a later statement of the same transaction is going to touch.
-- The parts meet by `in` inside `case`, which is looked up in a hash table. Joined, they would be compared each with
-- each, because the planner takes an array for ten rows: a batch of a thousand took fifty times as long.
with item as materialized (
    select *
    from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[],
                $7::text[], $8::bigint[], $9::boolean[], $10::bigint[], $11::bytea[], $12::text[], $13::text[],
                $14::integer[])
         as t (instance_id, life, seq, writer, body,
               status, seen, releases, wake_at, error, code, refused_by, takes)
), mail as materialized (
    select * from unnest($15::text[], $16::text[]) as t (instance_id, delivery_id)
), held as materialized (
    select i.instance_id, i.life, i.signals
    from romancy_instances i
    where i.instance_id = any ($17::text[])
    order by i.instance_id
    for no key update
), there as materialized (
    select mail.instance_id, count(*) as found
    from mail join romancy_inbox m using (instance_id, delivery_id)
    group by mail.instance_id
), fit as materialized (
    select item.*
    from item
    where exists (select from romancy_workers where token = $1 and not dead)
      and case when (item.instance_id, item.life) in (select instance_id, life from held)
               then (item.status is null or item.status not in ('completed', 'failed', 'cancelled')
                     or (item.instance_id, item.seen) in (select instance_id, signals from held))
                and (item.takes = 0 or (item.instance_id, item.takes::bigint) in (select instance_id, found from there))
          end
), logged as (
    insert into romancy_log (instance_id, life, seq, writer, body, at)
    select instance_id, life, seq, writer, body, romancy_now() from fit order by instance_id collate "C"
    on conflict do nothing
    returning instance_id
), changed as (
    update romancy_instances i
    set status = fit.status,
        seen = fit.seen,
        last_seq = fit.seq,
        updated_at = romancy_now(),
        error = fit.error,
        code = coalesce(fit.code, i.code),
        refused = case when fit.refused_by = '' then '{}' -- all are forgiven
                       when fit.refused_by = any (i.refused) is not false then i.refused else i.refused || fit.refused_by end,
        owner = case when fit.releases then null else i.owner end,
        wake_at = case when not fit.releases
                            or fit.status in ('completed', 'failed', 'cancelled', 'stuck') then null
                       when i.signals = fit.seen then fit.wake_at
                       else romancy_now() end
    from fit
    where i.instance_id = fit.instance_id and fit.status is not null
      and case when fit.instance_id in (select instance_id from logged) then true end
    returning i.instance_id, i.wake_at
), taken as (
    delete from romancy_inbox m
    using mail
    where m.instance_id = mail.instance_id and m.delivery_id = mail.delivery_id
      and case when mail.instance_id in (select instance_id from logged) then true end
)
select instance_id, instance_id in (select instance_id from changed where wake_at is not null) as due from logged;

-- name: renew_runs
-- The new run's input takes the place of the old one's: instances that continued as new.
with renewed as (
    select *
    from unnest($1::text[], $2::bigint[], $3::bytea[], $4::text[], $5::text[])
         as t (instance_id, run_from, input, projection, index_paths)
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

-- name: index_renewed
-- The index rows of a new run, after `renew_runs` took the old ones away.
insert into romancy_index (path, value, created_at, instance_id)
select x.path, x.value, i.created_at, x.instance_id
from unnest($1::text[], $2::text[], $3::text[]) as x (instance_id, path, value)
join romancy_instances i using (instance_id);

-- name: index_set
-- Remember a set of declared paths.
insert into romancy_index_sets (paths, members) values ($1, $2) on conflict do nothing;

-- name: start
-- New instances, each with the first row of its log and its index rows, where the id is free and the owner alive.
with item as materialized (
    select *
    from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[],
                $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::bytea[])
         as t (instance_id, life, workflow_name, code, writer, body, input,
               projection, index_paths, status, owner, delay, parent, error)
), created as (
    insert into romancy_instances
        (instance_id, life, workflow_name, code, input, projection, index_paths, status, owner, parent,
         error, wake_at, created_at, updated_at)
    select instance_id, life, workflow_name, code, input, projection::jsonb, index_paths, status, owner, parent,
           error, case when owner is null then clock.now + delay end, clock.now, clock.now
    from item cross join (select romancy_now() as now) as clock
    where owner is null or exists (select from romancy_workers w where w.token = item.owner and not w.dead)
    order by instance_id collate "C"
    on conflict (instance_id) do nothing
    returning instance_id, created_at
), logged as (
    insert into romancy_log (instance_id, life, seq, writer, body, at)
    select instance_id, item.life, 1, item.writer, item.body, created.created_at
    from created join item using (instance_id)
), indexed as (
    insert into romancy_index (path, value, created_at, instance_id)
    select x.path, x.value, created.created_at, instance_id
    from created join unnest($15::text[], $16::text[], $17::text[]) as x (instance_id, path, value) using (instance_id)
)
select instance_id from created;

-- name: explain_appends
-- Why items were not accepted: who holds each place, whether the writer is alive, how the instance's row stands.
select t.n, l.writer, exists (select from romancy_workers where token = $1 and not dead) as alive, i.life, i.signals
from unnest($2::text[], $3::bigint[], $4::bigint[]) with ordinality as t (instance_id, life, seq, n)
left join romancy_log l using (instance_id, life, seq)
left join romancy_instances i using (instance_id)
order by t.n;

-- name: explain_starts
-- Why instances were not created: who wrote the first row of this life, and whether the id is taken.
select t.n, l.writer, i.instance_id is not null as taken
from unnest($1::text[], $2::bigint[]) with ordinality as t (instance_id, life, n)
left join romancy_log l on l.instance_id = t.instance_id and l.life = t.life and l.seq = 1
left join romancy_instances i on i.instance_id = t.instance_id
order by t.n;

-- name: outbox_add
-- Messages for the outside, with the commit that decided them.
insert into romancy_outbox (outbox_id, topic, body, at)
select outbox_id, topic, body, romancy_now()
from unnest($1::text[], $2::text[], $3::bytea[]) as t (outbox_id, topic, body)
order by outbox_id collate "C";

-- name: deliver
-- Messages into inboxes, one answer each in their order. Targets are locked first, so each is decided on the row as
-- it is, and the counter moves in the same commit as the rows that it counts.
with message as materialized (
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[])
                  with ordinality as t (instance_id, delivery_id, body, dedupe, n)
), held as materialized (
    select instance_id, status in ('completed', 'failed', 'cancelled') as closed
    from romancy_instances
    where instance_id = any ($1)
    order by instance_id
    for no key update
), fitting as materialized (
    select distinct on (coalesce(m.dedupe, ''), case when m.dedupe is null then m.n end) m.*
    from message m join held using (instance_id)
    where not held.closed
    order by coalesce(m.dedupe, ''), case when m.dedupe is null then m.n end, m.n
), keyed as (
    insert into romancy_seen (dedupe, at)
    select f.dedupe, romancy_now()
    from fitting f
    where f.dedupe is not null
      and not exists (select from romancy_inbox i where i.instance_id = f.instance_id and i.delivery_id = f.delivery_id)
    order by f.dedupe collate "C"
    on conflict do nothing
    returning dedupe
), fresh as materialized (
    select distinct on (f.instance_id, f.delivery_id) f.*
    from fitting f left join keyed using (dedupe)
    where f.dedupe is null or keyed.dedupe is not null
    order by f.instance_id, f.delivery_id, f.n
), taken as (
    insert into romancy_inbox (instance_id, delivery_id, body, at, counted)
    select instance_id, delivery_id, body, romancy_now(), true
    from fresh
    order by instance_id collate "C", delivery_id collate "C"
    on conflict do nothing
    returning instance_id, delivery_id
), counted as (
    update romancy_instances i
    set signals = i.signals + new.mail,
        wake_at = case when i.owner is null and i.status <> 'stuck'
                       then least(i.wake_at, romancy_now()) else i.wake_at end
    from (select instance_id, count(*) as mail from taken group by instance_id) new
    where i.instance_id = new.instance_id
)
select case when held.instance_id is null then 'unknown'
            when held.closed then 'closed'
            when taken.instance_id is null then 'duplicate'
            else 'accepted' end
from message m
left join held using (instance_id)
left join fresh on fresh.n = m.n
left join taken on taken.instance_id = fresh.instance_id and taken.delivery_id = fresh.delivery_id
order by m.n;

-- name: post
-- Messages into inboxes inside a session, whose transaction must not hold up the rows of other instances: its lock
-- only keeps them from being pruned. The counter moves afterwards (`count_mail`), or else with the next sweep.
with message as materialized (
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[])
                  with ordinality as t (instance_id, delivery_id, body, dedupe, n)
), target as materialized (
    select instance_id, status in ('completed', 'failed', 'cancelled') as closed
    from romancy_instances
    where instance_id = any ($1)
    order by instance_id
    for key share
), fitting as materialized (
    select distinct on (coalesce(m.dedupe, ''), case when m.dedupe is null then m.n end) m.*
    from message m join target using (instance_id)
    where not target.closed
    order by coalesce(m.dedupe, ''), case when m.dedupe is null then m.n end, m.n
), keyed as (
    insert into romancy_seen (dedupe, at)
    select f.dedupe, romancy_now()
    from fitting f
    where f.dedupe is not null
      and not exists (select from romancy_inbox i where i.instance_id = f.instance_id and i.delivery_id = f.delivery_id)
    order by f.dedupe collate "C"
    on conflict do nothing
    returning dedupe
), fresh as materialized (
    select distinct on (f.instance_id, f.delivery_id) f.*
    from fitting f left join keyed using (dedupe)
    where f.dedupe is null or keyed.dedupe is not null
    order by f.instance_id, f.delivery_id, f.n
), taken as (
    insert into romancy_inbox (instance_id, delivery_id, body, at, counted)
    select instance_id, delivery_id, body, romancy_now(), false
    from fresh
    order by instance_id collate "C", delivery_id collate "C"
    on conflict do nothing
    returning instance_id, delivery_id
)
select case when target.instance_id is null then 'unknown'
            when target.closed then 'closed'
            when taken.instance_id is null then 'duplicate'
            else 'accepted' end
from message m
left join target using (instance_id)
left join fresh on fresh.n = m.n
left join taken on taken.instance_id = fresh.instance_id and taken.delivery_id = fresh.delivery_id
order by m.n;

-- name: count_mail
-- Count messages that a session has posted. Those consumed meanwhile need no counting.
with posted as materialized (
    select * from unnest($1::text[], $2::text[]) as t (instance_id, delivery_id)
), held as materialized (
    select instance_id from romancy_instances where instance_id = any ($1) order by instance_id for no key update
), marked as (
    update romancy_inbox m set counted = true
    from posted join held using (instance_id)
    where m.instance_id = posted.instance_id and m.delivery_id = posted.delivery_id and not m.counted
    returning m.instance_id
)
update romancy_instances i
set signals = i.signals + new.mail,
    wake_at = case when i.owner is null and i.status not in ('completed', 'failed', 'cancelled', 'stuck')
                   then least(i.wake_at, romancy_now()) else i.wake_at end
from (select instance_id, count(*) as mail from marked group by instance_id) new
where i.instance_id = new.instance_id
returning i.instance_id;

-- name: sweep_mail
-- Count messages that a session posted at least five seconds ago and that nobody has counted.
with posted as materialized (
    select instance_id, delivery_id from romancy_inbox
    where not counted and at < romancy_now() - 5000000
      and exists (select from romancy_workers where token = $1 and not dead)
    order by at limit 1000
), held as materialized (
    select instance_id from romancy_instances
    where instance_id in (select instance_id from posted)
    order by instance_id
    for no key update skip locked
), marked as (
    update romancy_inbox m set counted = true
    from posted join held using (instance_id)
    where m.instance_id = posted.instance_id and m.delivery_id = posted.delivery_id and not m.counted
    returning m.instance_id
)
update romancy_instances i
set signals = i.signals + new.mail,
    wake_at = case when i.owner is null and i.status not in ('completed', 'failed', 'cancelled', 'stuck')
                   then least(i.wake_at, romancy_now()) else i.wake_at end
from (select instance_id, count(*) as mail from marked group by instance_id) new
where i.instance_id = new.instance_id
returning i.instance_id;

-- name: sweep_asleep
-- Wake what has unseen mail and nothing to wake it, and parked instances that the code of this request may fit.
with asleep as materialized (
    select instance_id from romancy_instances
    where owner is null and signals <> seen and wake_at is null
      and status not in ('completed', 'failed', 'cancelled', 'stuck')
    limit 1000
    for no key update skip locked
), parked as materialized (
    select i.instance_id
    from romancy_instances i
    join unnest($2::text[], $3::text[]) as known (name, code) on known.name = i.workflow_name
    where i.status = 'stuck' and i.owner is null and i.wake_at is null and known.code <> all (i.refused)
    limit 1000
    for no key update of i skip locked
)
update romancy_instances i
set wake_at = romancy_now()
where i.instance_id in (select instance_id from asleep union all select instance_id from parked)
  and exists (select from romancy_workers where token = $1 and not dead)
returning i.instance_id;

-- name: claim
-- Take ownership of due instances, longest due first; $7 asks for all that is owned already too. The first columns
-- are the same in every row and there without a claim: the time, whether owned instances have unseen mail, and when
-- the next instance falls due, of which only the first eight of each workflow are looked at.
with clock as materialized (
    select romancy_now() as now
), alive as materialized (
    select from romancy_workers where token = $1 and not dead
), known as materialized (
    select * from unnest($2::text[], $3::text[]) as t (name, code)
), due as materialized (
    select d.instance_id, d.wake_at
    from clock, known cross join lateral (
        select i.instance_id, i.wake_at
        from romancy_instances i
        where i.workflow_name = known.name and i.wake_at <= clock.now
          and known.code <> all (i.refused)
          and (i.code <> all ($5::text[]) or i.wake_at <= clock.now - $6::bigint)
        order by i.wake_at
        limit $4::bigint
        for no key update skip locked
    ) d
    where exists (select from alive)
    order by d.wake_at, d.instance_id
    limit $4
), claimed as (
    update romancy_instances i
    set owner = $1, wake_at = null
    from due
    where i.instance_id = due.instance_id
    returning i.instance_id, i.life, i.workflow_name, i.status, i.code, i.run_from, i.signals, i.seen,
              i.crashes, i.crash_seq,
              due.wake_at as since
), given as (
    select * from claimed
    union all
    select instance_id, life, workflow_name, status, code, run_from, signals, seen, crashes, crash_seq, 0
    from romancy_instances
    where $7::boolean and owner = $1 and exists (select from alive)
), ahead as (
    select least(min(a.due) filter (where a.due > clock.now),
                 case when count(*) = 8 then greatest(max(a.wake_at), clock.now + 1000000) end) as due
    from clock, known cross join lateral (
        select i.wake_at,
               case when known.code = any (i.refused) then null
                    when i.code = any ($5) then i.wake_at + $6
                    else i.wake_at end as due
        from romancy_instances i
        where i.workflow_name = known.name
          and i.wake_at > clock.now - case when cardinality($5) = 0 then 0 else greatest($6, 0) end
        order by i.wake_at
        limit 8
    ) a
    group by known.name, clock.now
)
select clock.now,
       exists (select from romancy_instances where owner = $1 and signals <> seen) and exists (select from alive) as mail,
       (select min(due) from ahead) as next_due,
       given.*
from clock left join given on true
order by given.since, given.instance_id;

-- name: mail
-- The unseen mail of everything a worker owns, and all mail and the heads of the logs of what it has just claimed.
-- One snapshot: the counter covers the rows. `offset 0` asks inbox by inbox; merged, all the mail there is would be read.
select i.instance_id, i.life, i.signals, i.fresh, m.delivery_id, m.body, m.at,
       case when i.fresh then (select max(seq) from romancy_log l
                               where l.instance_id = i.instance_id and l.life = i.life) end as head
from (
    select instance_id, life, signals, instance_id = any ($2::text[]) as fresh
    from romancy_instances
    where owner = $1 and signals <> seen
    union
    select instance_id, life, signals, true
    from romancy_instances
    where owner = $1 and instance_id = any ($2)
) i
left join lateral (
    select m.delivery_id, m.body, m.at from romancy_inbox m where m.instance_id = i.instance_id offset 0
) m on true
order by i.instance_id, m.delivery_id;

-- name: beat
-- Register a worker or count its beat up, unless it was declared dead; $9 is its wish to be.
insert into romancy_workers as w
    (token, worker_id, lease, codes, boot_id, pid_namespace, pid, pid_start, dead, beat, beat_at, started_at)
select $1::text, $2::text, $3::bigint, $4::text[], $5::text, $6::text, $7::bigint, $8::bigint, $9::boolean,
       1, clock.now, clock.now
from (select romancy_now() as now) as clock
on conflict (token) do update
set beat = w.beat + 1, beat_at = excluded.beat_at, dead = excluded.dead, worker_id = excluded.worker_id,
    lease = excluded.lease, codes = excluded.codes, boot_id = excluded.boot_id,
    pid_namespace = excluded.pid_namespace, pid = excluded.pid, pid_start = excluded.pid_start
where not w.dead;

-- name: peers
-- All other workers that live or still own something, after the time and whether this one lives. (An EXISTS might be
-- answered from a hash of all owners.)
select romancy_now() as now,
       exists (select from romancy_workers where token = $1 and not dead) as alive,
       p.*
from (select) as one
left join romancy_workers p
    on p.token <> $1
   and (not p.dead or (select true from romancy_instances where owner = p.token limit 1));

-- name: declare_dead
-- Mark a worker dead whose beat has not moved since it was seen, while the one that asks is alive itself. Both rows
-- are locked, so two that suspect each other cannot both succeed. No row: refused.
with pair as materialized (
    select token, beat, dead from romancy_workers where token in ($1, $2) order by token for update
), judged as (
    select dead.token
    from pair as asking, pair as dead
    where asking.token = $1 and not asking.dead and dead.token = $2 and (dead.dead or dead.beat = $3)
)
update romancy_workers w set dead = true
from judged where w.token = judged.token
returning w.token;

-- name: free
-- Free up to $3 of a dead worker's instances, those whose log takes the entry. What is locked is left for later.
-- $6, if not null, are the only instances to look at.
with held as materialized (
    select instance_id, life
    from romancy_instances
    where owner = $1 and ($6::text[] is null or instance_id = any ($6))
    order by instance_id
    limit $3
    for no key update skip locked
), placed as materialized (
    select held.instance_id, held.life,
           (select max(seq) from romancy_log l where l.instance_id = held.instance_id and l.life = held.life) as head
    from held
), logged as (
    insert into romancy_log (instance_id, life, seq, writer, body, at)
    select instance_id, life, head + 1, $4::text, $5::bytea, romancy_now()
    from placed
    where exists (select from romancy_workers where token = $2 and not dead)
    order by instance_id
    on conflict do nothing
    returning instance_id, seq
)
update romancy_instances i
set owner = null,
    wake_at = romancy_now(),
    updated_at = romancy_now(),
    crashes = case when i.crash_seq = logged.seq - 1 then i.crashes + 1 else 1 end,
    crash_seq = logged.seq
from logged
where i.instance_id = logged.instance_id
returning i.instance_id;

-- name: owned
-- What a worker still owns.
select instance_id from romancy_instances where owner = $1 order by instance_id limit $2;
