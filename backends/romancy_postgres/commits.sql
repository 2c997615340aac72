-- Appends that change more than the log: each statement is a whole commit, in one round trip. The rules of queries.sql
-- hold here too.
--
-- A part is no statement. It stands in other statements for its name, which begins with `part_`.

-- name: part_append
-- Each append is decided on its locked row, and only then written: if it changes the row, the life must be the row's, an
-- ended instance must be reopened, an instance that nobody may own has no owner, and a terminal status must have seen all
-- deliveries; all mail to be taken must exist, and the row before must be by the writer that the append knows. $19 are all instances to lock: those of the appends,
-- and those to which messages go. The parts meet by `in` inside `case`, which the server looks up in a hash table.
-- Joined, it would compare each with each, because the planner takes an array for ten rows: a batch of a thousand took
-- fifty times as long. Mail is locked after its instance: it may have been given back while this waited for it. The time
-- of an append is read after the locks, since a select list is evaluated after the conditions.
mail as materialized (
    select * from unnest($17::text[], $18::text[]) as t (instance_id, delivery_id)
), held as materialized (
    select i.instance_id, i.life, i.signals, i.status in ('completed', 'failed', 'cancelled') as over,
           i.owner is null as free
    from romancy_instances i
    where i.instance_id = any ($19::text[])
    order by i.instance_id
    for no key update
), mine as materialized (
    select mail.instance_id
    from mail cross join lateral (
        select true from romancy_inbox m
        where m.instance_id = mail.instance_id and m.delivery_id = mail.delivery_id
        for update
    ) m
), there as materialized (
    select instance_id, count(*) as found from mine group by instance_id
), fit as materialized (
    select item.*, romancy_now() as now
    from item
    where exists (select from romancy_workers where token = $1 and not dead)
      and (item.after is null
           or (select p.writer from romancy_log p
               where p.instance_id = item.instance_id and p.life = item.life and p.seq = item.seq - 1) = item.after)
      and case when item.status is null or (item.instance_id, item.life) in (select instance_id, life from held)
               then (item.status is null or item.finds = 1
                     or item.instance_id in (select instance_id from held where not over))
                and (item.status is null or item.finds <> 2
                     or item.instance_id in (select instance_id from held where free))
                and (item.status is null or item.status not in ('completed', 'failed', 'cancelled')
                     or (item.instance_id, item.seen) in (select instance_id, signals from held))
                and (item.takes = 0 or (item.instance_id, item.takes::bigint) in (select instance_id, found from there))
          end
), logged as (
    insert into romancy_log (instance_id, life, seq, writer, body, at)
    select instance_id, life, seq, writer, body, now from fit order by instance_id collate "C"
    on conflict do nothing
    returning instance_id
), changed as (
    update romancy_instances i
    set status = fit.status,
        seen = fit.seen,
        last_seq = fit.seq,
        updated_at = fit.now,
        error = fit.error,
        code = coalesce(fit.code, i.code),
        refused = case when fit.refused_by = '' then '{}' -- all are forgiven
                       when fit.refused_by is null or fit.refused_by = any (i.refused) then i.refused
                       else i.refused || fit.refused_by end,
        owner = case when fit.releases then null else i.owner end,
        wake_at = case when not fit.releases
                            or fit.status in ('completed', 'failed', 'cancelled', 'stuck') then null
                       when i.signals = fit.seen then fit.wake_at
                       else fit.now end,
        run_from = coalesce(fit.run_from, i.run_from),
        input = coalesce(fit.input, i.input),
        projection = case when fit.run_from is null then i.projection else fit.projection::jsonb end,
        index_paths = coalesce(fit.index_paths, i.index_paths)
    from fit
    where i.instance_id = fit.instance_id and fit.status is not null
      and case when fit.instance_id in (select instance_id from logged) then true end
    returning i.instance_id, i.wake_at
), taken as (
    delete from romancy_inbox m
    using mail
    where m.instance_id = mail.instance_id and m.delivery_id = mail.delivery_id
      and case when mail.instance_id in (select instance_id from logged) then true end
);

-- name: part_deliver
-- Messages for inboxes, given `message` and `receiver`, the locked rows of their receivers with a time after the locks:
-- `delivered` are those that are new. No two are of one id for one inbox. The counter moves in the same commit as the rows
-- that it counts. Their numbers are above the counter before, and not above the counter after.
fitting as materialized (
    select distinct on (m.instance_id, coalesce(m.dedupe, ''), case when m.dedupe is null then m.n end)
           m.*, receiver.life, receiver.signals, receiver.now,
           case when m.dedupe is not null
                then (select true from romancy_inbox i
                      where i.instance_id = m.instance_id and i.delivery_id = m.delivery_id) end as known
    from message m join receiver using (instance_id)
    where not receiver.over
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
), delivered as (
    insert into romancy_inbox (instance_id, delivery_id, body, at, counted, number)
    select instance_id, delivery_id, body, now, true, signals + 1
    from fresh
    order by instance_id collate "C", delivery_id collate "C"
    on conflict do nothing
    returning instance_id, delivery_id, at
), counted as (
    update romancy_instances i
    set signals = i.signals + new.mail,
        wake_at = case when i.owner is null and i.status not in ('stuck', 'paused')
                       then least(i.wake_at, new.now) else i.wake_at end
    from (select instance_id, count(*) as mail, max(at) as now from delivered group by instance_id) new
    where i.instance_id = new.instance_id
);

-- name: part_post
-- Messages to keep at addresses, given `place`, a row for each place, and `clock`: `new` are those that are new. Only the
-- row of a message's topic has its `dedupe`. No two rows are of one place. If another transaction keeps a message of one
-- id meanwhile, the statement fails, and is sent again (`_errors.overtaken`): so neither a part of a message stays nor
-- its key.
known as materialized (
    select place.n
    from place join romancy_messages m on m.message_id = place.message_id and m.address = place.address
), marked as (
    insert into romancy_seen (unit, life, dedupe, at)
    select address, 0, dedupe, clock.now
    from (select distinct address, dedupe
          from place
          where dedupe is not null and n not in (select n from known)) one
    cross join clock
    order by address collate "C", dedupe collate "C"
    on conflict do nothing
    returning unit, dedupe
), earliest as materialized (
    select distinct on (address, dedupe) n
    from place
    where (address, dedupe) in (select unit, dedupe from marked) and n not in (select n from known)
    order by address, dedupe, n
), new as materialized (
    select *
    from place
    where n not in (select n from known)
      and (n not in (select n from place where dedupe is not null) or n in (select n from earliest))
), posted as (
    insert into romancy_messages (at, message_id, address, spread, body, projection)
    select clock.now, message_id, address, spread, body, projection
    from new cross join clock
    order by message_id collate "C", address collate "C"
);

-- name: part_create
-- New instances, given `item` and `clock`: `made` are those whose ids are free and whose owners are alive, and `logged`
-- their first rows.
made as (
    insert into romancy_instances
        (instance_id, life, {given}, input, projection, index_paths, status, owner, parent,
         error, wake_at, created_at, updated_at)
    select instance_id, life, {given}, input, projection::jsonb, index_paths, status, owner, parent,
           error, greatest(wake_at, clock.now + delay), clock.now, clock.now
    from item cross join clock
    where owner is null or exists (select from romancy_workers w where w.token = item.owner and not w.dead)
    order by instance_id collate "C"
    on conflict (instance_id) do nothing
    returning instance_id, created_at
), logged as (
    insert into romancy_log (instance_id, life, seq, writer, body, at)
    select instance_id, item.life, 1, item.writer, item.body, made.created_at
    from made join item using (instance_id)
    returning instance_id
), searchable as (
    insert into romancy_index (path, value, created_at, instance_id)
    select x.path, x.value, made.created_at, instance_id
    from made join unnest($14::text[], $15::text[], $16::text[]) as x (instance_id, path, value) using (instance_id)
);

-- name: part_child
-- Children, each with the append that carries its start.
child as materialized (
    select *
    from unnest($18::text[], $19::text[], $20::bigint[], $21::text[], $22::bytea[], $23::bytea[], $24::text[],
                $25::text[], $26::text[], $27::bigint[], $28::bigint[], {given $61})
         as t (append, instance_id, life, writer, body, input, projection, index_paths, parent, wake_at, delay, {given})
);

-- name: part_carried
-- What appends carry beside their rows, given `logged`, `child`, `held` and `clock`: children, messages for the outside
-- and for inboxes, interests and posts. Each of these rows names its append, and is written if that was logged.
born as materialized (
    select * from child where case when append in (select instance_id from logged) then true end
), created as (
    insert into romancy_instances
        (instance_id, life, {given}, input, projection, index_paths, status, parent, wake_at, created_at, updated_at)
    select instance_id, life, {given}, input, projection::jsonb, index_paths, 'pending', parent,
           greatest(wake_at, clock.now + delay), clock.now, clock.now
    from born cross join clock
    order by instance_id collate "C"
    on conflict (instance_id) do nothing
    returning instance_id, created_at
), begun as (
    insert into romancy_log (instance_id, life, seq, writer, body, at)
    select instance_id, born.life, 1, born.writer, born.body, created.created_at
    from created join born using (instance_id)
), indexed as (
    insert into romancy_index (path, value, created_at, instance_id)
    select x.path, x.value, created.created_at, instance_id
    from created join unnest($29::text[], $30::text[], $31::text[]) as x (instance_id, path, value) using (instance_id)
), sent as (
    insert into romancy_outbox (outbox_id, topic, body, order_key, instance_id, at, queued_at, next_at)
    select outbox_id, topic, body, order_key, t.instance_id, now, now, now
    from unnest($32::text[], $33::text[], $34::text[], $35::bytea[], $36::text[], $37::text[])
             as t (append, outbox_id, topic, body, order_key, instance_id)
    cross join clock
    where case when t.append in (select instance_id from logged) then true end
    order by outbox_id collate "C"
    on conflict do nothing -- an earlier copy, of an instance that was removed since
), message as materialized (
    select * from unnest($38::text[], $39::text[], $40::text[], $41::bytea[], $42::text[])
                  with ordinality as t (append, instance_id, delivery_id, body, dedupe, n)
    where case when append in (select instance_id from logged) then true end
), receiver as materialized (
    select held.*, clock.now from held cross join clock
), :part_deliver, uninterested as (
    delete from romancy_interests i
    using unnest($43::text[], $44::bigint[], $45::text[]) as t (owner, life, interest_id)
    where i.owner = t.owner and i.life = t.life and i.interest_id = t.interest_id
      and case when t.owner in (select instance_id from logged) then true end
), interested as (
    insert into romancy_interests as i (at, owner, life, interest_id, address, kind, where_)
    select clock.now - t.ahead, t.owner, t.life, t.interest_id, t.address, t.kind, t.where_
    from unnest($46::text[], $47::bigint[], $48::text[], $49::text[], $50::text[], $51::bytea[], $52::bigint[])
             as t (owner, life, interest_id, address, kind, where_, ahead)
    cross join clock
    where case when t.owner in (select instance_id from logged) then true end
    on conflict (owner, life, interest_id) do update
    set at = case when i.address = excluded.address and i.kind = excluded.kind then i.at else excluded.at end,
        address = excluded.address, kind = excluded.kind, where_ = excluded.where_, compared_to = -1
    where i.address <> excluded.address or i.kind <> excluded.kind or i.where_ is distinct from excluded.where_
), place as materialized (
    select *
    from unnest($53::text[], $54::integer[], $55::text[], $56::text[], $57::text[], $58::text[], $59::bytea[],
                $60::bytea[])
         as t (append, n, message_id, dedupe, address, spread, body, projection)
    where case when append in (select instance_id from logged) then true end
), :part_post;

-- name: append_changes
-- Appends that change their instances' rows or take mail. The answer names those that were accepted, unless all were,
-- and those that are due now.
with item as materialized (
    select *, null::bigint as run_from, null::bytea as input, null::text as projection, null::text as index_paths
    from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::text[],
                $8::text[], $9::bigint[], $10::boolean[], $11::bigint[], $12::bytea[], $13::text[], $14::text[],
                $15::integer[], $16::integer[])
         as t (instance_id, life, seq, writer, body, after,
               status, seen, releases, wake_at, error, code, refused_by, finds, takes)
), :part_append
select case when (select count(*) from logged) < cardinality($2::text[])
            then coalesce((select array_agg(instance_id) from logged), '{}') end as chosen,
       (select array_agg(instance_id) from changed where wake_at is not null) as due;

-- name: append_effects
-- Appends with everything that they can carry: a new run ($20 to $27), and what the two parts name.
--
-- All parts of a statement see the same rows, those from before it, and no row is changed twice. So no message of it
-- may go to an instance that it starts or changes. An append with a child whose id is taken is left out, and one whose
-- child could not be created in the end undoes the whole statement by a division by zero. Both are then tried in a
-- transaction of several statements. What keys and ids protect does not depend on what a statement sees: two
-- transactions cannot both insert them. The answer also names who got messages.
with :part_child+10, item as materialized (
    select *
    from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::text[],
                $8::text[], $9::bigint[], $10::boolean[], $11::bigint[], $12::bytea[], $13::text[], $14::text[],
                $15::integer[], $16::integer[],
                $20::bigint[], $21::bytea[], $22::text[], $23::text[], $24::text[])
         as t (instance_id, life, seq, writer, body, after,
               status, seen, releases, wake_at, error, code, refused_by, finds, takes,
               run_from, input, projection, index_paths, members)
    where case when instance_id in (
                   select append from child
                   where (select true from romancy_instances x where x.instance_id = child.instance_id)
               ) then false else true end
), :part_append, clock as materialized ( -- one time for all rows, after the locks: the outbox is sent in this order
    select max(now) as now from fit
), declared as (
    insert into romancy_index_sets (workflow_name, paths, members)
    select distinct i.workflow_name, fit.index_paths, string_to_array(fit.members, E'\n')
    from fit join romancy_instances i using (instance_id)
    where fit.index_paths is not null
      and case when fit.instance_id in (select instance_id from logged) then true end
      and not exists (select from romancy_index_sets s
                      where s.workflow_name = i.workflow_name and s.paths = fit.index_paths)
    order by 1, 2
    on conflict do nothing
), forgotten as (
    delete from romancy_index x using fit
    where x.instance_id = fit.instance_id and fit.index_paths is not null
      and case when fit.instance_id in (select instance_id from logged) then true end
    returning 1
), indexed_anew as ( -- after those that are forgotten, which may have the same keys
    insert into romancy_index (path, value, created_at, instance_id)
    select x.path, x.value, i.created_at, x.instance_id
    from (select count(*) from forgotten) as emptied
    cross join unnest($25::text[], $26::text[], $27::text[]) as x (instance_id, path, value)
    join romancy_instances i using (instance_id)
    where case when x.instance_id in (select instance_id from logged) then true end
), :part_carried+10
select case when (select count(*) from logged) < cardinality($2::text[])
            then coalesce((select array_agg(instance_id) from logged), '{}') end as chosen,
       (select array_agg(instance_id) from changed where wake_at is not null) as due,
       (select array_agg(distinct instance_id) from delivered) as mailed,
       1 / case when (select count(*) from created) < (select count(*) from born) then 0 else 1 end as whole;

-- name: append_first
-- First appends, which create their instances, with everything that they can carry. The rules are those of
-- append_effects. $17 are the receivers of messages, which are locked.
with :part_child, item as materialized (
    select *
    from unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bytea[], {given $61+})
         as t (instance_id, life, writer, body, input, projection, index_paths, parent, status, owner, wake_at, delay,
               error, {given})
    where case when instance_id in (
                   select append from child
                   where (select true from romancy_instances x where x.instance_id = child.instance_id)
               ) then false else true end
), held as materialized (
    select i.instance_id, i.life, i.signals, i.status in ('completed', 'failed', 'cancelled') as over
    from romancy_instances i
    where i.instance_id = any ($17::text[])
    order by i.instance_id
    for no key update
), clock as materialized (
    select romancy_now() as now from (select count(*) from held) as locked
), :part_create, :part_carried
select case when (select count(*) from logged) < cardinality($1::text[])
            then coalesce((select array_agg(instance_id) from logged), '{}') end as chosen,
       (select array_agg(distinct instance_id) from delivered) as mailed,
       1 / case when (select count(*) from created) < (select count(*) from born) then 0 else 1 end as whole;
