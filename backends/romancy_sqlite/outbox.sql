-- The outbox: messages for the outside, and the relays that claim and settle them.

-- name: outbox_insert
-- A message for the outside.
insert into romancy_outbox (outbox_id, topic, body, order_key, instance_id, at, queued_at, next_at)
values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict do nothing;

-- name: outbox_next_due
-- When the next message is due.
select min(next_at) from romancy_outbox where state = 'pending' and next_at is not null;

-- name: outbox_due
-- Due messages, longest due first, and whether an older one of the same key is pending.
select
    outbox_id,
    order_key is not null and exists (
        select 1 from romancy_outbox as older
        where older.state = 'pending' and older.order_key = due.order_key
            and (older.at, older.outbox_id) < (due.at, due.outbox_id)
    )
from romancy_outbox as due
where state = 'pending' and next_at <= ?
order by next_at, at, outbox_id
limit ?;

-- name: outbox_park
-- Park a message that comes after others with its key.
update romancy_outbox set next_at = null where outbox_id = ?;

-- name: outbox_claim
-- Give a message to a relay until its lease expires.
update romancy_outbox set claim = ?, next_at = ? where outbox_id = ?;

-- name: outbox_claimed
-- The messages of a claim.
select
    outbox_id, topic, body, order_key, instance_id, at, max(at, queued_at), state, attempts, next_at, claim, error, ended_at
from romancy_outbox
where outbox_id in (select value from json_each(?))
order by at, outbox_id;

-- name: outbox_settle
-- Record the outcome of a claimed message.
update romancy_outbox set
    state = :state,
    attempts = attempts + :counted,
    next_at = case when :state = 'pending' then :now + :delay end,
    ended_at = case when :state <> 'pending' then :now end,
    claim = null,
    error = case when :counted or :error is not null then :error else error end
where outbox_id = :outbox_id and claim = :claim and state = 'pending';

-- name: outbox_promote
-- The next message of the key of another one that has ended, if it is parked.
update romancy_outbox set next_at = :now
where next_at is null and outbox_id = (
    select outbox_id from romancy_outbox
    where state = 'pending' and order_key = (select order_key from romancy_outbox where outbox_id = :outbox_id)
    order by at, outbox_id
    limit 1
);

-- name: outbox_promote_key
-- The next message of a key, if it is parked.
update romancy_outbox set next_at = :now
where next_at is null and outbox_id = (
    select outbox_id from romancy_outbox
    where state = 'pending' and order_key = :key
    order by at, outbox_id
    limit 1
);

-- name: outbox_sweep
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

-- name: outbox_entries
-- A page of messages of some states, in the order in which they were inserted.
select
    outbox_id, topic, body, order_key, instance_id, at, max(at, queued_at), state, attempts, next_at, claim, error, ended_at
from romancy_outbox
where state in (select value from json_each(:states)) and (at, outbox_id) > (:at, :outbox_id)
order by at, outbox_id
limit :limit;

-- name: outbox_counts
-- How many messages have each state, and when the oldest of them was inserted.
select state, count(*), min(at) from romancy_outbox group by state;

-- name: outbox_pending_to
-- Up to so many pending messages: those that are due at a time, those of the keys that are parked, all of the keys, and
-- the oldest of them. Each part reads its index no further than that.
select due.count, keyed.parked, keyed.count, min(ifnull(due.oldest, keyed.oldest), ifnull(keyed.oldest, due.oldest))
from
    (
        select count(*) as count, min(at) as oldest
        from (
            select at from romancy_outbox indexed by romancy_outbox_due
            where state = 'pending' and next_at is not null limit :most
        )
    ) as due,
    (
        select count(*) as count, ifnull(sum(next_at is null), 0) as parked, min(at) as oldest
        from (
            select at, next_at from romancy_outbox indexed by romancy_outbox_order
            where state = 'pending' and order_key is not null limit :most
        )
    ) as keyed;

-- name: outbox_ended_to
-- Up to so many messages of each of these states, which are finished.
select
    wanted.value,
    (
        select count(*)
        from (
            select 1 from romancy_outbox indexed by romancy_outbox_ended
            where state <> 'pending' and state = wanted.value limit :most
        )
    )
from json_each(:states) as wanted;

-- name: outbox_requeue
-- Queue finished messages again.
update romancy_outbox set state = 'pending', attempts = 0, queued_at = :now, next_at = :now, ended_at = null
where outbox_id in (
    select outbox_id from romancy_outbox
    where state <> 'pending' and state in (select value from json_each(:states))
        and (:all or outbox_id in (select value from json_each(:ids)))
    order by at, outbox_id
    limit :limit
);

-- name: outbox_purge
-- Remove messages that reached one of these states long ago.
delete from romancy_outbox where outbox_id in (
    select outbox_id from romancy_outbox
    where state <> 'pending' and state in (select value from json_each(:states)) and ended_at < :before
    limit :limit
);

-- name: outbox_page
-- The oldest pending messages for the outside; ids sort in the order of each sender.
select outbox_id, topic, body, order_key, instance_id from romancy_outbox
where state = 'pending'
order by outbox_id
limit ?;

-- name: outbox_keys
-- The keys of some messages.
select distinct order_key from romancy_outbox
where order_key is not null and outbox_id in (select value from json_each(?));

-- name: outbox_remove
-- Remove a message.
delete from romancy_outbox where outbox_id = ?;
