-- The outbox: messages for the outside, and the relays that claim and settle them.

-- name: add_outbox
-- Messages for the outside.
insert into romancy_outbox (outbox_id, topic, body, order_key, instance_id, next_at, at) values :rows
on duplicate key update outbox_id = romancy_outbox.outbox_id

-- name: outbox_look () -> now, next_due
-- The time, and when the next message is due.
select timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)), (
    select o.next_at from romancy_outbox o force index (due)
    where o.state = _binary'pending' and o.next_at is not null
    order by o.next_at
    limit 1
)

-- name: outbox_due (limit) -> outbox_id, behind
-- Due messages that no other transaction holds, longest due first. Only a later statement sees which are behind others.
select outbox_id, null from romancy_outbox force index (due)
where state = _binary'pending' and next_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
order by next_at, at
limit :limit
for update skip locked

-- name: outbox_judge (ids) -> outbox_id, behind
-- Of messages that this transaction has locked, those with an older pending one of the same key. The query sees every
-- end that was committed before the messages were locked.
select o.outbox_id, o.order_key is not null and exists (
    select 1 from romancy_outbox older force index (by_order)
    where older.order_key = o.order_key and older.state = _binary'pending'
        and (older.at < o.at or (older.at = o.at and older.outbox_id < o.outbox_id))
)
from romancy_outbox o force index (primary)
where o.outbox_id in (:ids)
order by o.next_at, o.at, o.outbox_id

-- name: outbox_park (ids)
-- Park messages that come after others with their keys.
update romancy_outbox set next_at = null where outbox_id in (:ids)

-- name: outbox_give (claim, lease, ids)
-- Give messages to a relay until its lease expires.
update romancy_outbox
set claim = :claim, next_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) + :lease
where outbox_id in (:ids)

-- name: outbox_given (ids) -> outbox_id, topic, body, order_key, instance_id, at, queued_at,
-- state, attempts, next_at, claim, error, ended_at
-- The messages of a claim.
select outbox_id, topic, body, order_key, instance_id, at, greatest(at, queued_at), state, attempts, next_at, claim,
    error, ended_at
from romancy_outbox
where outbox_id in (:ids)

-- name: outbox_record (settled(outbox_id, claim, state, delay, counted, error))
-- Record the outcomes of claimed messages.
update :source romancy_outbox o
set o.state = :state,
    o.attempts = o.attempts + :counted,
    o.next_at = if(:state = _binary'pending', timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) + :delay, null),
    o.ended_at = if(:state = _binary'pending', null, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    o.error = if(:counted or :error is not null, :error, o.error),
    o.claim = null
where o.outbox_id = :outbox_id and o.claim = :claim and o.state = _binary'pending'

-- name: outbox_keys (ids) -> order_key
-- The keys of some messages.
select distinct order_key from romancy_outbox where outbox_id in (:ids) and order_key is not null

-- name: outbox_next (keys(order_key)) -> outbox_id
-- The next message of each key, or NULL.
select (
    select o.outbox_id from romancy_outbox o force index (by_order)
    where o.order_key = :order_key and o.state = _binary'pending'
    order by o.at, o.outbox_id
    limit 1
)
from :source (select 1) one

-- name: outbox_unpark (ids)
-- Make these messages due, if they are parked. Waits for a claim that is parking one.
update romancy_outbox
set next_at = coalesce(next_at, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)))
where outbox_id in (:ids) and state = _binary'pending'

-- name: outbox_parked (limit) -> outbox_id
-- Parked messages that have no pending one before them.
select p.outbox_id from romancy_outbox p force index (due)
where p.state = _binary'pending' and p.next_at is null and not exists (
    select 1 from romancy_outbox older force index (by_order)
    where older.order_key = p.order_key and older.state = _binary'pending'
        and (older.at < p.at or (older.at = p.at and older.outbox_id < p.outbox_id))
)
limit :limit

-- name: outbox_entries (states, at, outbox_id, limit) -> outbox_id, topic, body, order_key, instance_id, at, queued_at,
-- state, attempts, next_at, claim, error, ended_at
-- A page of messages of some states, in the order in which they were inserted.
select outbox_id, topic, body, order_key, instance_id, at, greatest(at, queued_at), state, attempts, next_at, claim,
    error, ended_at
from romancy_outbox
where state in (:states) and (at > :at or (at = :at and outbox_id > :outbox_id))
order by at, outbox_id
limit :limit

-- name: outbox_pending (most) -> now, count, oldest
-- The time, up to so many pending messages, and the oldest of them.
select timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)), count(*), min(c.at)
from (select at from romancy_outbox force index (due) where state = _binary'pending' limit :most) c

-- name: outbox_ended (state, most) -> count
-- Up to so many finished messages of a state.
select count(*) from (select 1 from romancy_outbox force index (by_end) where state = :state limit :most) c

-- name: outbox_requeue (states, every, ids, limit)
-- Queue finished messages again.
update romancy_outbox
set state = _binary'pending', attempts = 0, ended_at = null,
    queued_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)),
    next_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
where state in (:states) and state <> _binary'pending' and (:every or outbox_id in (:ids))
order by at, outbox_id
limit :limit

-- name: outbox_purge (states, before, limit)
-- Remove messages that reached one of these states long ago.
delete from romancy_outbox where state in (:states) and state <> _binary'pending' and ended_at < :before limit :limit

-- name: outbox_read (limit) -> outbox_id, topic, body, order_key, instance_id
-- The oldest pending messages for the outside, in the order of each sender.
select outbox_id, topic, body, order_key, instance_id from romancy_outbox
where state = _binary'pending'
order by outbox_id
limit :limit

-- name: outbox_delete (ids)
-- Remove messages.
delete from romancy_outbox where outbox_id in (:ids)
