-- The outbox: messages for the outside, and the relays that claim and settle them.

-- name: outbox_add
-- Messages for the outside, with the commit that decided them. All get one time, and so are sent in the order of ids.
-- An id that is there already keeps its first message: its instance was removed since, and is written again.
with clock as materialized (
    select romancy_now() as now
)
insert into romancy_outbox (outbox_id, topic, body, order_key, instance_id, at, queued_at, next_at)
select outbox_id, topic, body, order_key, instance_id, now, now, now
from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[])
        as t (outbox_id, topic, body, order_key, instance_id)
cross join clock
order by outbox_id collate "C"
on conflict do nothing;

-- name: outbox_look () -> now, next_due
-- The time, and when the next message is due.
select romancy_now(), (
    select next_at from romancy_outbox where state = 'pending' and next_at is not null order by next_at limit 1
);

-- name: outbox_due (limit) -> outbox_id, behind
-- Due messages that no other transaction holds, longest due first. Only a later statement sees which are behind others.
select outbox_id, null from romancy_outbox
where state = 'pending' and next_at <= (select romancy_now())
order by next_at, at, outbox_id
limit $1
for update skip locked;

-- name: outbox_claim (ids, limit, claim, lease) -> outbox_id, topic, body, order_key, instance_id, at, queued_at,
-- state, attempts, next_at, claim, error, ended_at
-- Of messages that this transaction holds, park those with an older pending one of the same key, and claim up to $2
-- others. Those that it parks have no body. A statement of its own: it sees every end that was committed before the
-- messages were locked.
with clock as materialized (
    select romancy_now() as now
), due as materialized (
    select o.outbox_id, o.next_at, o.at, o.order_key is not null and exists (
        select from romancy_outbox older
        where older.state = 'pending' and older.order_key = o.order_key
          and (older.at, older.outbox_id) < (o.at, o.outbox_id)
    ) as behind
    from romancy_outbox o
    where o.outbox_id = any ($1::text[])
), ranked as materialized (
    select outbox_id, behind, row_number() over (partition by behind order by next_at, at, outbox_id) as place from due
)
update romancy_outbox o
set next_at = case when ranked.behind then null else (select now from clock) + $4::bigint end,
    claim = case when ranked.behind then o.claim else $3::text end
from ranked
where o.outbox_id = ranked.outbox_id and (ranked.behind or ranked.place <= $2::bigint)
returning o.outbox_id, o.topic, case when ranked.behind then null else o.body end, o.order_key, o.instance_id,
    o.at, greatest(o.at, o.queued_at), o.state, o.attempts, o.next_at, o.claim, o.error, o.ended_at;

-- name: outbox_settle (settled(outbox_id, claim, state, delay, counted, error)) -> order_key
-- Record the outcomes of claimed messages, and return the keys of those that have ended.
with held as materialized (
    select outbox_id from romancy_outbox where outbox_id = any ($1::text[]) order by outbox_id for update
), clock as materialized (
    select outbox_id, romancy_now() as now from held
)
update romancy_outbox o
set state = t.state,
    attempts = o.attempts + t.counted::integer,
    next_at = case when t.state = 'pending' then clock.now + t.delay end,
    ended_at = case when t.state <> 'pending' then clock.now end,
    claim = null,
    error = case when t.counted or t.error is not null then t.error else o.error end
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::text[])
        as t (outbox_id, claim, state, delay, counted, error)
join clock using (outbox_id)
where o.outbox_id = t.outbox_id and o.claim = t.claim and o.state = 'pending'
returning case when o.state <> 'pending' then o.order_key end;

-- name: outbox_promote (keys)
-- Make the next message of each key due, if it is parked. The statement waits for a claim that is parking it and then
-- reads the row again: nothing but the assignment may depend on next_at.
with clock as materialized (
    select romancy_now() as now
)
update romancy_outbox o
set next_at = coalesce(o.next_at, (select now from clock))
where o.state = 'pending' and o.outbox_id = any (array(
    select (
        select n.outbox_id from romancy_outbox n
        where n.state = 'pending' and n.order_key = t.key
        order by n.at, n.outbox_id
        limit 1
    )
    from unnest($1::text[]) as t (key)
));

-- name: outbox_sweep ()
-- Make the next message of each key due, if it is parked. The query goes from key to key: very many may be parked
-- behind one. The walk stands inside of a part: not each engine takes a walk beside an UPDATE.
with clock as materialized (
    select romancy_now() as now
), heads as materialized (
    with recursive keys (key) as (
        (
            select order_key from romancy_outbox
            where state = 'pending' and order_key is not null order by order_key limit 1
        )
        union all
        select (
            select order_key from romancy_outbox
            where state = 'pending' and order_key > keys.key order by order_key limit 1
        ) from keys where keys.key is not null
    )
    select head.outbox_id
    from keys cross join lateral (
        select outbox_id, next_at from romancy_outbox
        where state = 'pending' and order_key = keys.key
        order by at, outbox_id
        limit 1
    ) head
    where head.next_at is null
    limit 1000
)
update romancy_outbox o
set next_at = coalesce(o.next_at, (select now from clock))
where o.outbox_id = any (array(
    select p.outbox_id from romancy_outbox p
    where p.state = 'pending' and p.outbox_id = any (array(select outbox_id from heads))
    for update skip locked
));

-- name: outbox_entries (states, at, outbox_id, limit) -> outbox_id, topic, body, order_key, instance_id, at, queued_at,
-- state, attempts, next_at, claim, error, ended_at
-- A page of messages of some states, in the order in which they were inserted.
select outbox_id, topic, body, order_key, instance_id, at, greatest(at, queued_at), state, attempts, next_at, claim,
    error, ended_at
from romancy_outbox
where state = any ($1::text[]) and (at, outbox_id) > ($2::bigint, $3::text)
order by at, outbox_id
limit $4;

-- name: outbox_counts (most, states) -> now, state, count, oldest
-- The time, and up to so many messages of each state. Of the pending ones: those that are due at a time with the oldest
-- of them, and those of the keys with those of them that are parked. Each part reads its index no further than that.
select romancy_now(), 'pending', least(due.count + keyed.parked, $1), least(due.oldest, keyed.oldest)
from (
    select count(*) as count, min(at) as oldest
    from (
        select at from romancy_outbox where state = 'pending' and next_at is not null
        order by next_at, at, outbox_id limit $1
    ) d
) due
cross join (
    select count(*) filter (where next_at is null) as parked, min(at) as oldest
    from (
        select at, next_at from romancy_outbox where state = 'pending' and order_key is not null
        order by order_key, at, outbox_id limit $1
    ) k
) keyed
union all
select 0, wanted.state, ended.count, null
from unnest($2::text[]) as wanted (state)
cross join lateral (
    select count(*) as count
    from (
        select 1 from romancy_outbox o where o.state <> 'pending' and o.state = wanted.state
        order by o.state, o.ended_at limit $1
    ) e
) ended;

-- name: outbox_requeue (states, every, ids, limit)
-- Queue finished messages again.
with clock as materialized (
    select romancy_now() as now
)
update romancy_outbox o
set state = 'pending', attempts = 0, queued_at = (select now from clock), next_at = (select now from clock),
    ended_at = null
where o.outbox_id = any (array(
    select outbox_id from romancy_outbox
    where state <> 'pending' and state = any ($1::text[]) and ($2::boolean or outbox_id = any ($3::text[]))
    order by at, outbox_id
    limit $4
    for update skip locked
));

-- name: outbox_purge (states, before, limit)
-- Remove messages that reached one of these states long ago.
delete from romancy_outbox
where outbox_id = any (array(
    select outbox_id from romancy_outbox
    where state <> 'pending' and state = any ($1::text[]) and ended_at < $2
    limit $3
    for update skip locked
));

-- name: outbox_read (limit) -> outbox_id, topic, body, order_key, instance_id
-- The oldest pending messages for the outside, in the order of each sender.
select outbox_id, topic, body, order_key, instance_id from romancy_outbox
where state = 'pending'
order by outbox_id
limit $1;

-- name: outbox_remove (ids) -> order_key
-- Remove messages, and return their keys.
with held as materialized (
    select outbox_id from romancy_outbox where outbox_id = any ($1::text[]) order by outbox_id for update
)
delete from romancy_outbox o using held where o.outbox_id = held.outbox_id returning o.order_key;
