-- The outbox: messages for the outside, and the relays that claim and settle them.

-- name: outbox_insert
-- A message for the outside.
insert into romancy_outbox (outbox_id, topic, body, order_key, instance_id, at, queued_at, next_at)
values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict do nothing;

-- name: outbox_look () -> now, next_due
-- The time, and when the next message is due.
select :now, (select min(next_at) from romancy_outbox where state = 'pending' and next_at is not null);

-- name: outbox_due (limit) -> outbox_id, behind
-- Due messages, longest due first, and whether an older one of the same key is pending.
select
    outbox_id,
    order_key is not null and exists (
        select 1 from romancy_outbox as older
        where older.state = 'pending' and older.order_key = due.order_key
            and (older.at, older.outbox_id) < (due.at, due.outbox_id)
    )
from romancy_outbox as due
where state = 'pending' and next_at <= :now
order by next_at, at, outbox_id
limit :limit;

-- name: outbox_park (ids)
-- Park messages that come after others with their keys.
update romancy_outbox set next_at = null where outbox_id in (select value from json_each(:ids));

-- name: outbox_give (claim, lease, ids)
-- Give messages to a relay until its lease expires.
update romancy_outbox set claim = :claim, next_at = :now + :lease
where outbox_id in (select value from json_each(:ids));

-- name: outbox_given (ids) -> outbox_id, topic, body, order_key, instance_id, at, queued_at,
-- state, attempts, next_at, claim, error, ended_at
-- The messages of a claim.
select
    outbox_id, topic, body, order_key, instance_id, at, max(at, queued_at), state, attempts, next_at, claim, error, ended_at
from romancy_outbox
where outbox_id in (select value from json_each(:ids));

-- name: outbox_record (settled(outbox_id, claim, state, delay, counted, error))
-- Record the outcomes of claimed messages.
update romancy_outbox set
    state = t.state,
    attempts = attempts + t.counted,
    next_at = case when t.state = 'pending' then :now + t.delay end,
    ended_at = case when t.state <> 'pending' then :now end,
    claim = null,
    error = case when t.counted or t.error is not null then t.error else romancy_outbox.error end
from (
    select
        json_extract(value, '$[0]') as outbox_id,
        json_extract(value, '$[1]') as claim,
        json_extract(value, '$[2]') as state,
        json_extract(value, '$[3]') as delay,
        json_extract(value, '$[4]') as counted,
        json_extract(value, '$[5]') as error
    from json_each(:settled)
) as t
where romancy_outbox.outbox_id = t.outbox_id and romancy_outbox.claim = t.claim and romancy_outbox.state = 'pending';

-- name: outbox_promote (keys)
-- Make the next message of each key due, if it is parked.
update romancy_outbox set next_at = :now
where next_at is null and outbox_id in (
    select (
        select outbox_id from romancy_outbox
        where state = 'pending' and order_key = keys.value
        order by at, outbox_id
        limit 1
    ) from json_each(:keys) as keys
);

-- name: outbox_sweep ()
-- The next message of each key, if it is parked. It goes from key to key: very many may be parked behind one.
with recursive keys (key) as (
    select min(order_key) from romancy_outbox where state = 'pending' and order_key is not null
    union all
    select (
        select min(order_key) from romancy_outbox
        where state = 'pending' and order_key is not null and order_key > keys.key
    ) from keys where keys.key is not null
)
update romancy_outbox set next_at = :now
where next_at is null and outbox_id in (
    select (
        select outbox_id from romancy_outbox
        where state = 'pending' and order_key is not null and order_key = keys.key
        order by at, outbox_id
        limit 1
    ) from keys where keys.key is not null
);

-- name: outbox_entries (states, at, outbox_id, limit) -> outbox_id, topic, body, order_key, instance_id, at, queued_at,
-- state, attempts, next_at, claim, error, ended_at
-- A page of messages of some states, in the order in which they were inserted.
select
    outbox_id, topic, body, order_key, instance_id, at, max(at, queued_at), state, attempts, next_at, claim, error, ended_at
from romancy_outbox
where state in (select value from json_each(:states)) and (at, outbox_id) > (:at, :outbox_id)
order by at, outbox_id
limit :limit;

-- name: outbox_counts (most, states) -> now, state, count, oldest
-- The time, and up to so many messages of each state. Of the pending ones: those that are due at a time, and those of the
-- keys that are parked, with the oldest of both. Each part reads its index no further than that.
select
    :now, 'pending', min(due.count + keyed.parked, :most),
    min(ifnull(due.oldest, keyed.oldest), ifnull(keyed.oldest, due.oldest))
from
    (
        select count(*) as count, min(at) as oldest
        from (
            select at from romancy_outbox indexed by romancy_outbox_due
            where state = 'pending' and next_at is not null limit :most
        )
    ) as due,
    (
        select ifnull(sum(next_at is null), 0) as parked, min(at) as oldest
        from (
            select at, next_at from romancy_outbox indexed by romancy_outbox_order
            where state = 'pending' and order_key is not null limit :most
        )
    ) as keyed
union all
select
    0, wanted.value,
    (
        select count(*)
        from (
            select 1 from romancy_outbox indexed by romancy_outbox_ended
            where state <> 'pending' and state = wanted.value limit :most
        )
    ),
    null
from json_each(:states) as wanted;

-- name: outbox_requeue (states, every, ids, limit)
-- Queue finished messages again.
update romancy_outbox set state = 'pending', attempts = 0, queued_at = :now, next_at = :now, ended_at = null
where outbox_id in (
    select outbox_id from romancy_outbox
    where state <> 'pending' and state in (select value from json_each(:states))
        and (:every or outbox_id in (select value from json_each(:ids)))
    order by at, outbox_id
    limit :limit
);

-- name: outbox_purge (states, before, limit)
-- Remove messages that reached one of these states long ago.
delete from romancy_outbox where outbox_id in (
    select outbox_id from romancy_outbox
    where state <> 'pending' and state in (select value from json_each(:states)) and ended_at < :before
    limit :limit
);

-- name: outbox_read (limit) -> outbox_id, topic, body, order_key, instance_id
-- The oldest pending messages for the outside; ids sort in the order of each sender.
select outbox_id, topic, body, order_key, instance_id from romancy_outbox
where state = 'pending'
order by outbox_id
limit :limit;

-- name: outbox_keys (ids) -> order_key
-- The keys of some messages.
select distinct order_key from romancy_outbox
where order_key is not null and outbox_id in (select value from json_each(:ids));

-- name: outbox_delete (ids)
-- Remove messages.
delete from romancy_outbox where outbox_id in (select value from json_each(:ids));
