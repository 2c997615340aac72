-- Routing: messages at addresses, interests in them, and the dispatch to inboxes and letter boxes.

-- name: message_has
-- Whether a message is kept at an address.
select 1 from romancy_messages where address = ? and message_id = ?;

-- name: message_insert
-- Keep a message at an address.
insert into romancy_messages (address, message_id, spread, at, body, projection) values (?, ?, ?, ?, ?, ?);

-- name: interest_put
-- Register an interest. A replacement of the same address and kind keeps the place in the queue.
insert into romancy_interests (owner, life, interest_id, address, kind, where_, at) values (?, ?, ?, ?, ?, ?, ?)
on conflict do update set
    at = iif(address = excluded.address and kind = excluded.kind, at, excluded.at),
    address = excluded.address,
    kind = excluded.kind,
    where_ = excluded.where_;

-- name: interest_drop
-- Remove an interest.
delete from romancy_interests where owner = ? and life = ? and interest_id = ?;

-- name: route_due
-- Those of these addresses that have something to route.
select wanted.value
from json_each(?) as wanted
where
    exists (select 1 from romancy_messages where address = wanted.value and spread = 'every')
    or (
        exists (select 1 from romancy_interests where address = wanted.value and kind <> 'member')
        and exists (select 1 from romancy_messages where address = wanted.value)
    );

-- name: route_work
-- The same of all addresses, up to a limit. A member of a channel that is about to take something has two interests.
select address from romancy_messages indexed by romancy_messages_every where spread = 'every'
union
select interest.address
from romancy_interests as interest
where
    interest.kind <> 'member'
    and exists (select 1 from romancy_messages where address = interest.address)
limit ?;

-- name: route_interests
-- The interests at these addresses whose owners can still receive messages.
select interest.owner, interest.life, interest.interest_id, interest.address, interest.kind, interest.where_, interest.at
from json_each(?) as wanted
cross join romancy_interests as interest on interest.address = wanted.value
left join romancy_instances as instance on instance.instance_id = interest.owner
where
    interest.life = 0
    or (instance.life = interest.life and instance.status not in ('completed', 'failed', 'cancelled'))
order by interest.at, interest.owner, interest.life, interest.interest_id;

-- name: route_messages
-- The messages at these addresses after some place, the oldest first: all where the value is 1 or 2, with projections
-- where it is 2, and otherwise only messages for everyone.
select
    message.address, message.message_id, message.spread, message.at,
    case when wanted.value = 2 then (
        select projection from romancy_messages as whole
        where whole.address = message.address and whole.message_id = message.message_id
    ) end
from json_each(:wanted) as wanted
cross join romancy_messages as message on message.address = wanted.key
where
    (wanted.value > 0 or message.spread = 'every')
    and (message.at, message.message_id, message.address) > (:at, :message_id, :address)
order by message.at, message.message_id, message.address
limit :limit;

-- name: route_take
-- Put a message into the inbox of its taker, with the number that the counter will have.
insert into romancy_inbox (
    instance_id, delivery_id, body, at, number, address, interest, spread, projection
)
select
    instance.instance_id, message.message_id, message.body, message.at, instance.signals + 1,
    message.address, :interest_id, message.spread, message.projection
from romancy_messages as message cross join romancy_instances as instance
where message.address = :address and message.message_id = :message_id and instance.instance_id = :owner
on conflict do nothing;

-- name: route_copy
-- Put a copy of a message into an inbox.
insert into romancy_inbox (instance_id, delivery_id, body, at, number, address)
select instance.instance_id, :copy_id, message.body, :number, instance.signals + 1, message.address
from romancy_messages as message cross join romancy_instances as instance
where message.address = :address and message.message_id = :message_id and instance.instance_id = :owner
on conflict do nothing;

-- name: route_letter
-- Put a message, or a copy of it, into a letter box.
insert into romancy_letters (
    subscriber, letter_id, address, body, at, message_id, spread, posted_at, projection
)
select
    :owner, :copy_id, address, body, :number,
    iif(:taken, message_id, null), iif(:taken, spread, null), iif(:taken, at, null), iif(:taken, projection, null)
from romancy_messages
where address = :address and message_id = :message_id;

-- name: message_remove
-- Remove a message that was taken or copied, or has no receiver.
delete from romancy_messages where address = ? and message_id = ?;

-- name: numbers
-- The last numbers of some addresses.
select address, number from romancy_addresses where address in (select value from json_each(?));

-- name: number_set
-- The last number of an address.
insert into romancy_addresses (address, number) values (?, ?) on conflict do update set number = excluded.number;

-- name: route_over
-- Instances that have ended, or are of another life, and still have interests.
select interest.owner, interest.life, interest.interest_id
from romancy_interests as interest
left join romancy_instances as instance on instance.instance_id = interest.owner
where
    interest.life <> 0
    and (
        instance.instance_id is null
        or instance.life <> interest.life
        or instance.status in ('completed', 'failed', 'cancelled')
    )
limit ?;

-- name: route_lost
-- The messages that ended or missing instances have taken and never consumed.
select inbox.instance_id, inbox.delivery_id
from romancy_inbox as inbox indexed by romancy_inbox_taken
left join romancy_instances as instance on instance.instance_id = inbox.instance_id
where
    inbox.interest is not null
    and (instance.instance_id is null or instance.status in ('completed', 'failed', 'cancelled'))
limit ?;

-- name: put_back
-- Keep a message again that was taken and not consumed.
insert into romancy_messages (address, message_id, spread, at, body, projection)
select address, delivery_id, spread, at, body, projection
from romancy_inbox
where instance_id = ? and delivery_id = ? and interest is not null
on conflict do nothing;

-- name: return_taken (ids)
-- The same for all messages that some instances have taken.
insert into romancy_messages (address, message_id, spread, at, body, projection)
select address, delivery_id, spread, at, body, projection
from romancy_inbox indexed by romancy_inbox_taken
where instance_id in (select value from json_each(:ids)) and interest is not null
on conflict do nothing;

-- name: routed_remove
-- Remove a message that came from an address.
delete from romancy_inbox where instance_id = ? and delivery_id = ? and address is not null;

-- name: letter_back
-- Keep a message again that was taken into a letter box.
insert into romancy_messages (address, message_id, spread, at, body, projection)
select address, message_id, spread, posted_at, body, projection
from romancy_letters
where subscriber = ? and letter_id = ? and message_id is not null
on conflict do nothing;

-- name: letter_remove
-- Forget a letter.
delete from romancy_letters where subscriber = ? and letter_id = ?;

-- name: letters
-- The oldest letters; their ids begin with their time.
select letter_id, address, body, at from romancy_letters where subscriber = ? order by letter_id limit ?;

-- name: other_life
-- Whether an instance has another life than this.
select 1 from romancy_instances where instance_id = ? and life <> ?;

-- name: is_open
-- Whether an instance of this life can still receive messages.
select 1 from romancy_instances
where instance_id = ? and life = ? and status not in ('completed', 'failed', 'cancelled');

-- name: discard
-- Remove all messages at an address.
delete from romancy_messages where address = ?;

-- name: kept
-- Undelivered messages, by message id. A page ends with all places of its last message. A blob is greater than every
-- text.
select message_id, address, spread, body, at
from romancy_messages
where
    message_id > :after
    and (:address is null or address = :address)
    and message_id <= coalesce((
        select message_id from romancy_messages
        where message_id > :after and (:address is null or address = :address)
        order by message_id, address
        limit 1 offset :limit - 1
    ), x'')
order by message_id, address;

-- name: expire_messages
-- Remove old messages at addresses without interests, up to a limit.
delete from romancy_messages
where (address, message_id) in (
    select message.address, message.message_id
    from romancy_messages as message indexed by romancy_messages_order
    where
        message.at < ?
        and not exists (select 1 from romancy_interests where address = message.address)
    limit ?
);

-- name: expire_letters
-- Remove old letters of subscribers that have no interest left, up to a limit.
delete from romancy_letters
where (subscriber, letter_id) in (
    select letter.subscriber, letter.letter_id
    from romancy_letters as letter
    where
        letter.at < ?
        and not exists (select 1 from romancy_interests where owner = letter.subscriber and life = 0)
    limit ?
);

-- name: expire_addresses
-- Forget the numbers of addresses where nothing is kept or wanted, and that no copy has used since.
delete from romancy_addresses
where
    number < ?
    and not exists (select 1 from romancy_messages where address = romancy_addresses.address)
    and not exists (select 1 from romancy_interests where address = romancy_addresses.address);

-- name: prune_interests (ids)
-- Remove the interests of some instances, of any life.
delete from romancy_interests where owner in (select value from json_each(:ids)) and life <> 0;

-- name: signal_many
-- Count several deliveries, and make a sleeping instance due. One that is due already keeps its place.
update romancy_instances set
    signals = signals + ?,
    wake_at = case
        when owner is null and status not in ('completed', 'failed', 'cancelled', 'stuck')
        then min(coalesce(wake_at, 9223372036854775807), ?)
        else wake_at
    end
where instance_id = ?;

-- name: routed_from
-- The address that a message in an inbox came from.
select address from romancy_inbox where instance_id = ? and delivery_id = ?;
