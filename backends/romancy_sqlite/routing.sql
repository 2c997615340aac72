-- Routing: messages at addresses, interests in them, and the dispatch to inboxes and letter boxes.

-- name: message_has
-- Whether a message is kept at an address.
select 1 from romancy_messages where address = ? and message_id = ?;

-- name: message_insert
-- Keep a message at an address.
insert into romancy_messages (address, message_id, spread, at, body, projection) values (?, ?, ?, ?, ?, ?);

-- name: lane_waits (address, low, high) -> there
-- Whether somebody waits at a lane or in a line of it, or a message lies there that a dispatch may have to remove.
select 1 as there
where exists (select 1 from romancy_interests where address = :address)
    or exists (select 1 from romancy_interests where address >= :low and address < :high)
    or exists (select 1 from romancy_messages where address = :address);

-- name: add_interest (owner, life, interest_id, address, kind, where_, ahead)
-- Register an interest. A replacement of the same address and kind keeps the place in the queue, which is so much
-- `ahead` of the time.
insert into romancy_interests (owner, life, interest_id, address, kind, where_, at)
values (:owner, :life, :interest_id, :address, :kind, :where_, :now - :ahead)
on conflict do update set
    at = iif(address = excluded.address and kind = excluded.kind, at, excluded.at),
    compared_to = iif(
        address = excluded.address and kind = excluded.kind and where_ is excluded.where_, compared_to, -1
    ),
    address = excluded.address,
    kind = excluded.kind,
    where_ = excluded.where_;

-- name: hold_places (places(owner, life, interest_id, address, kind, where_))
-- Note who has places, and what lanes note of themselves. The terms come as text.
insert into romancy_interests (owner, life, interest_id, address, kind, where_, at)
select
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), cast(json_extract(value, '$[5]') as blob), :now
from json_each(:places)
where true
on conflict do update set
    at = excluded.at, address = excluded.address, kind = excluded.kind, where_ = excluded.where_, compared_to = -1;

-- name: drop_interests (interests(owner, life, interest_id))
-- Remove interests.
delete from romancy_interests
where (owner, life, interest_id) in (
    select json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    from json_each(:interests)
);

-- name: lane_due (addresses) -> address, key
-- Those of these lanes at which something has changed.
select wanted.value, null
from json_each(:addresses) as wanted
where exists (select 1 from romancy_messages where address = wanted.value);

-- name: route_due (addresses) -> address, key
-- Those of these addresses that have something to route.
select wanted.value, null
from json_each(:addresses) as wanted
where
    exists (select 1 from romancy_messages where address = wanted.value and spread = 'every')
    or (
        exists (select 1 from romancy_interests where address = wanted.value and kind <> 'member')
        and exists (select 1 from romancy_messages where address = wanted.value)
    );

-- name: route_work
-- The same of all addresses, up to a limit. A member of a channel that is about to take something has two interests.
-- Where a lane has something to dispatch, a message for everyone says so, and the demands that wait there are not read.
select address from romancy_messages indexed by romancy_messages_every where spread = 'every'
union
select interest.address
from romancy_interests as interest
where
    interest.address < 'l/'
    and interest.kind <> 'member'
    and exists (select 1 from romancy_messages where address = interest.address)
union
select interest.address
from romancy_interests as interest
where
    interest.address >= 'l0'
    and interest.kind <> 'member'
    and exists (select 1 from romancy_messages where address = interest.address)
limit ?;

-- name: route_messages (addresses(address), at, message_id, after, limit) -> address, message_id, spread, at, projection,
-- compared, least, marked_at
-- A page of the messages at these addresses behind a place, the oldest first. At addresses without interests, only
-- messages for everyone are read; those that were compared with all interests, not at all. A projection is read only
-- where there are conditions. The limit makes SQLite look for interests once for each address.
select
    message.address, message.message_id, message.spread, message.at,
    case when place.choosy then (
        select cast(projection as blob) from romancy_messages as whole
        where whole.address = message.address and whole.message_id = message.message_id
    ) end,
    message.compared, iif(place.choosy, place.least, null), 0
from (
    select
        json_extract(wanted.value, '$[0]') as address,
        case
            when exists (
                select 1 from romancy_interests
                where address = json_extract(wanted.value, '$[0]') and kind <> 'member' and compared_to < 0
            )
            then -1
            else (
                select min(compared_to) from romancy_interests
                where address = json_extract(wanted.value, '$[0]') and kind <> 'member'
            )
        end as least,
        exists (
            select 1 from romancy_interests where address = json_extract(wanted.value, '$[0]') and where_ is not null
        ) as choosy
    from json_each(:addresses) as wanted
    limit -1
) as place
cross join romancy_messages as message
    on message.address = place.address and message.compared <= (coalesce(place.least, 0) < 9223372036854775807)
where
    (place.least is not null or message.spread = 'every')
    and (message.compared = 0 or message.at > place.least)
    and (message.at, message.message_id, message.address) > (:at, :message_id, :after)
order by message.at, message.message_id, message.address
limit :limit;

-- name: route_interests (addresses(address), limit) -> owner, life, interest_id, address, kind, where_, at, compared_to,
-- open, number, now
-- The interests at these addresses whose owners can still receive messages, with the number of the last copy from the
-- address, and the time. Also those that were compared with messages, and whose owners cannot receive any now.
select
    interest.owner, interest.life, interest.interest_id, interest.address, interest.kind, interest.where_, interest.at,
    interest.compared_to,
    interest.life = 0
        or ifnull(
            instance.life = interest.life and instance.status not in ('completed', 'failed', 'cancelled'), false
        ) as open,
    last.number, :now
from json_each(:addresses) as wanted
cross join romancy_interests as interest on interest.address = json_extract(wanted.value, '$[0]')
left join romancy_addresses as last on last.address = interest.address
left join romancy_instances as instance on instance.instance_id = interest.owner
where
    interest.kind <> 'member'
    and (
        interest.life = 0
        or interest.compared_to >= 0
        or (instance.life = interest.life and instance.status not in ('completed', 'failed', 'cancelled'))
    );

-- name: give_mail (mail(instance_id, delivery_id, at, interest, address, message_id))
-- Put messages into inboxes, with the number that the counter will have. Without a time of its own, a message has that
-- of its posting. What is taken (for an interest) can be given back.
insert into romancy_inbox (
    instance_id, delivery_id, body, at, number, address, interest, spread, projection, posted_at
)
select
    given.instance_id, given.delivery_id, message.body, coalesce(given.at, message.at), instance.signals + 1,
    message.address, given.interest, iif(given.interest is null, null, message.spread),
    iif(given.interest is null, null, message.projection),
    iif(given.interest is null or given.at is null, null, message.at)
from (
    select
        json_extract(value, '$[0]') as instance_id,
        json_extract(value, '$[1]') as delivery_id,
        json_extract(value, '$[2]') as at,
        json_extract(value, '$[3]') as interest,
        json_extract(value, '$[4]') as address,
        json_extract(value, '$[5]') as message_id
    from json_each(:mail)
) as given
cross join romancy_messages as message
    on message.address = given.address and message.message_id = given.message_id
cross join romancy_instances as instance on instance.instance_id = given.instance_id
where true
on conflict do nothing;

-- name: count_given (mail(instance_id, delivery_id))
-- Count these messages, whose numbers are greater than the counter, and make sleeping instances due. One that is due
-- already keeps its place.
update romancy_instances set
    signals = romancy_instances.signals + given.count,
    wake_at = case
        when owner is null and status not in ('completed', 'failed', 'cancelled', 'stuck', 'paused')
        then min(coalesce(wake_at, 9223372036854775807), :now)
        else wake_at
    end
from (
    select instance.instance_id, count(*) as count
    from json_each(:mail) as mail
    cross join romancy_inbox as inbox
        on inbox.instance_id = json_extract(mail.value, '$[0]') and inbox.delivery_id = json_extract(mail.value, '$[1]')
    cross join romancy_instances as instance on instance.instance_id = inbox.instance_id
    where inbox.number > instance.signals
    group by instance.instance_id
) as given
where romancy_instances.instance_id = given.instance_id;

-- name: give_letters (letters(subscriber, letter_id, at, taken, address, message_id))
-- The same for outside subscribers.
insert into romancy_letters (
    subscriber, letter_id, address, body, at, message_id, spread, posted_at, projection
)
select
    given.subscriber, given.letter_id, message.address, message.body, given.at,
    iif(given.taken, message.message_id, null), iif(given.taken, message.spread, null),
    iif(given.taken, message.at, null), iif(given.taken, message.projection, null)
from (
    select
        json_extract(value, '$[0]') as subscriber,
        json_extract(value, '$[1]') as letter_id,
        json_extract(value, '$[2]') as at,
        json_extract(value, '$[3]') as taken,
        json_extract(value, '$[4]') as address,
        json_extract(value, '$[5]') as message_id
    from json_each(:letters)
) as given
cross join romancy_messages as message
    on message.address = given.address and message.message_id = given.message_id;

-- name: end_messages (messages(address, message_id))
-- Remove messages that were taken or copied, or have no receiver.
delete from romancy_messages
where (address, message_id) in (
    select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(:messages)
);

-- name: mark_messages (messages(address, message_id, at))
-- Note that these messages were compared with the interests at their addresses.
update romancy_messages set compared = 1
where (address, message_id) in (
    select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(:messages)
);

-- name: mark_interests (interests(owner, life, interest_id, address, where_), until)
-- Note that these interests were compared with the messages at their addresses, up to a time.
update romancy_interests set compared_to = :until
where (owner, life, interest_id) in (
    select json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    from json_each(:interests)
);

-- name: number_addresses (numbers(address, number, last))
-- The last numbers of addresses.
insert into romancy_addresses (address, number)
select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(:numbers) where true
on conflict do update set number = excluded.number;

-- name: route_over
-- Instances that have ended, or are of another life, and still have interests. Those at `~f` are of failed ones.
select interest.owner, interest.life, interest.interest_id
from romancy_interests as interest
left join romancy_instances as instance on instance.instance_id = interest.owner
where
    interest.life <> 0
    and interest.address < '~'
    and (
        instance.instance_id is null
        or instance.life <> interest.life
        or instance.status in ('completed', 'failed', 'cancelled')
    )
limit ?;

-- name: route_lost
-- The messages that ended or missing instances have taken and never consumed, and where they came from.
select inbox.instance_id, inbox.delivery_id, inbox.address
from romancy_inbox as inbox indexed by romancy_inbox_taken
left join romancy_instances as instance on instance.instance_id = inbox.instance_id
where
    inbox.interest is not null
    and (instance.instance_id is null or instance.status in ('completed', 'failed', 'cancelled'))
limit ?;

-- name: return_mail (mail(instance_id, delivery_id, handed))
-- Keep messages again that were taken and not consumed. Where `handed` is not null, only what was handed out then.
insert into romancy_messages (address, message_id, spread, at, body, projection)
select
    inbox.address, inbox.delivery_id, inbox.spread, coalesce(inbox.posted_at, inbox.at), inbox.body, inbox.projection
from json_each(:mail) as given
cross join romancy_inbox as inbox
    on inbox.instance_id = json_extract(given.value, '$[0]') and inbox.delivery_id = json_extract(given.value, '$[1]')
where inbox.interest is not null and inbox.at = coalesce(json_extract(given.value, '$[2]'), inbox.at)
on conflict do nothing;

-- name: return_taken (ids)
-- The same for all messages that some instances have taken.
insert into romancy_messages (address, message_id, spread, at, body, projection)
select address, delivery_id, spread, coalesce(posted_at, at), body, projection
from romancy_inbox indexed by romancy_inbox_taken
where instance_id in (select value from json_each(:ids)) and interest is not null
on conflict do nothing;

-- name: drop_mail (mail(instance_id, delivery_id, handed))
-- Remove messages that came from an address, if they were handed out then.
delete from romancy_inbox
where
    (instance_id, delivery_id) in (
        select inbox.instance_id, inbox.delivery_id
        from json_each(:mail) as given
        cross join romancy_inbox as inbox
            on inbox.instance_id = json_extract(given.value, '$[0]')
            and inbox.delivery_id = json_extract(given.value, '$[1]')
        where inbox.at = coalesce(json_extract(given.value, '$[2]'), inbox.at)
    )
    and address is not null;

-- name: return_letters (subscriber, ids)
-- Keep messages again that were taken into a letter box.
insert into romancy_messages (address, message_id, spread, at, body, projection)
select address, message_id, spread, posted_at, body, projection
from romancy_letters
where
    subscriber = :subscriber
    and letter_id in (select value from json_each(:ids))
    and message_id is not null
on conflict do nothing;

-- name: drop_letters (subscriber, ids)
-- Forget letters.
delete from romancy_letters where subscriber = :subscriber and letter_id in (select value from json_each(:ids));

-- name: letters (subscriber, limit) -> letter_id, address, body, at
-- The oldest letters; their ids begin with their time.
select letter_id, address, body, at from romancy_letters where subscriber = :subscriber order by letter_id limit :limit;

-- name: lives (owner) -> life
-- The life of an instance, ended or not.
select life from romancy_instances where instance_id = :owner;

-- name: is_open (owner, life) -> open
-- Whether an instance of this life can still receive messages.
select 1 from romancy_instances
where instance_id = :owner and life = :life and status not in ('completed', 'failed', 'cancelled');

-- name: interests (address) -> owner, life, interest_id, kind, where_
-- The interests in an address, the longest registered first.
select interest.owner, interest.life, interest.interest_id, interest.kind, interest.where_
from romancy_interests as interest
left join romancy_instances as instance on instance.instance_id = interest.owner
where
    interest.address = :address
    and (
        interest.life = 0
        or (instance.life = interest.life and instance.status not in ('completed', 'failed', 'cancelled'))
    )
order by interest.at, interest.owner, interest.life, interest.interest_id;

-- name: discard (address)
-- Remove all messages at an address.
delete from romancy_messages where address = :address;

-- name: kept (after, limit) -> message_id, address, spread, body, at
-- A page of undelivered messages, with all places of the last. A blob is greater than every text.
select message_id, address, spread, body, at
from romancy_messages
where
    message_id > :after
    and message_id <= coalesce((
        select message_id from romancy_messages
        where message_id > :after
        order by message_id, address
        limit 1 offset :limit - 1
    ), x'')
order by message_id, address;

-- name: kept_at (address, after, limit) -> message_id, address, spread, body, at
-- The same at one address.
select message_id, address, spread, body, at
from romancy_messages
where address = :address and message_id > :after
order by message_id
limit :limit;

-- name: expire_messages (before, limit)
-- Remove old messages at addresses without interests, up to a limit.
delete from romancy_messages
where (address, message_id) in (
    select message.address, message.message_id
    from romancy_messages as message indexed by romancy_messages_order
    where
        message.at < :before
        and not exists (select 1 from romancy_interests where address = message.address)
    limit :limit
);

-- name: expire_letters (before, limit)
-- Remove old letters of subscribers that have no interest left, up to a limit.
delete from romancy_letters
where (subscriber, letter_id) in (
    select letter.subscriber, letter.letter_id
    from romancy_letters as letter
    where
        letter.at < :before
        and not exists (select 1 from romancy_interests where owner = letter.subscriber and life = 0)
    limit :limit
);

-- name: expire_addresses (before, limit)
-- Forget the numbers of addresses where nothing is kept or wanted, and that no copy has used since.
delete from romancy_addresses
where address in (
    select unused.address
    from romancy_addresses as unused
    where
        unused.number < :before
        and not exists (select 1 from romancy_messages where address = unused.address)
        and not exists (select 1 from romancy_interests where address = unused.address)
    limit :limit
);

-- name: expire_notes (before, limit)
-- Remove what lanes note of places that were given longer ago than their period, up to a limit.
delete from romancy_interests
where (owner, life, interest_id) in (
    select owner, life, interest_id
    from romancy_interests
    where address >= 'b/' and address < :before
    limit :limit
);

-- name: prune_interests (ids)
-- Remove the interests of some instances, of any life.
delete from romancy_interests where owner in (select value from json_each(:ids)) and life <> 0;
