-- Messages that are posted to addresses. The rules of queries.sql hold here too.
--
-- Messages are inserted in transactions that may stay open for long. So no statement here reads a range of messages
-- with locks: it would wait for these transactions. Rows are found without locks, and removed by key and counted.

-- --------------------------------------------------------------------------------------------------- in appends and posts

-- name: add_interests (rows)
-- Register interests. An existing one is replaced. It keeps its place in the queue if only its condition changes. :rows
-- is a query. The columns are set in this order, and each expression sees those already set. The place in the queue is so
-- much `ahead` of the time.
insert into romancy_interests (owner, life, interest_id, address, kind, where_, at)
select v.owner, v.life, v.interest_id, v.address, v.kind, v.where_,
    timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - v.ahead
from (:rows) v
on duplicate key update
    at = if(romancy_interests.address = v.address and romancy_interests.kind = v.kind, romancy_interests.at,
            timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - v.ahead),
    compared_to = if(romancy_interests.address = v.address and romancy_interests.kind = v.kind
            and romancy_interests.where_ <=> v.where_, romancy_interests.compared_to, -1),
    address = v.address, kind = v.kind, where_ = v.where_, swept = 0

-- name: drop_interests (interests(owner, life, interest_id))
-- Remove interests. A dispatch may have removed them already.
delete i from :source romancy_interests i
where i.owner = :owner and i.life = :life and i.interest_id = :interest_id

-- name: add_messages
-- Keep messages at their addresses.
insert into romancy_messages (address, message_id, spread, body, projection, at) values :rows
on duplicate key update address = romancy_messages.address

-- name: look_messages
-- Which of these messages are kept.
select m.address, m.message_id
from :source romancy_messages m
where m.address = :address and m.message_id = :message_id :lock

-- ----------------------------------------------------------------------------------------------------------- what to route

-- name: route_messages (addresses(address), at, message_id, after, limit) -> address, message_id, spread, at, projection,
-- compared, least, marked_at
-- A page of the messages at these addresses behind a place, the oldest first, with the time of the last marks at the
-- address. At addresses without interests, only messages that are dropped then are read; those that were compared with
-- all interests, not at all. A projection is read only where there are conditions. The large limit makes the server look
-- for interests once for each address.
select p.address, p.message_id, p.spread, p.at, m.projection, p.compared, if(p.choosy, p.least, null), p.marked_at
from (
    select straight_join k.address, k.spread, k.message_id, k.at, k.compared, a.choosy, a.least, a.marked_at
    from (
        select :address as address,
            case
                when exists (select 1 from romancy_interests i
                             where i.address = :address and i.kind <> _binary'member' and i.compared_to < 0) then -1
                else (select min(i.compared_to) from romancy_interests i
                      where i.address = :address and i.kind <> _binary'member')
            end as least,
            exists (select 1 from romancy_interests i where i.address = :address and i.where_ is not null) as choosy,
            (select d.marked_at from romancy_addresses d where d.address = :address) as marked_at
        from :source (select 1) one
        limit 1000000
    ) a
    join (select _binary'every' as spread, 0 as compared
          union all select _binary'one', 0 union all select _binary'channel', 0
          union all select _binary'one', 1 union all select _binary'channel', 1) s
        on s.spread = _binary'every' or (a.least is not null and s.compared <= (a.least < 9223372036854775807))
    join romancy_messages k force index (by_age)
        on k.address = a.address and k.spread = s.spread and k.compared = s.compared
    where (s.compared = 0 or k.at > a.least)
        and (k.at > :at
            or (k.at = :at and (k.message_id > :message_id or (k.message_id = :message_id and k.address > :after))))
    order by k.at, k.message_id, k.address
    limit :limit
) p
left join romancy_messages m on p.choosy and m.address = p.address and m.message_id = p.message_id

-- name: route_interests (addresses(address), limit) -> owner, life, interest_id, address, kind, where_, at, compared_to,
-- open, number, now
-- The interests of owners that can receive messages, at those of these addresses that hold messages, with the number of
-- the last copy from the address, and the time. Also those that were compared with messages, and whose owners cannot
-- receive any now.
select i.owner, i.life, i.interest_id, i.address, i.kind, i.where_, i.at, i.compared_to,
    i.life = 0 or n.instance_id is not null, d.number,
    timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from (
    select :address as address from :source (select 1) one
    where exists (select 1 from romancy_messages m where m.address = :address)
    limit 1000000
) a
straight_join romancy_interests i force index (by_address) on i.address = a.address
left join romancy_addresses d on d.address = i.address
left join romancy_instances n on n.instance_id = i.owner and n.life = i.life and n.status not in (:closed)
where i.kind <> _binary'member' and (i.life = 0 or i.compared_to >= 0 or n.instance_id is not null)

-- ---------------------------------------------------------------------------------------------------------- what was routed

-- name: lock_addresses (addresses(address))
-- Lock the rows of these addresses, which may be new, in this order.
insert into romancy_addresses (address) select :address from :source (select 1) one where true
on duplicate key update address = romancy_addresses.address

-- name: number_addresses (numbers(address, number, last))
-- Move the numbers of the last copies. If a faster dispatch has moved them already, this one starts again.
update :source romancy_addresses a
set a.number = :number
where a.address = :address and a.number = :last

-- name: mark_addresses (addresses(address, marked_at, last))
-- Note when something was marked at these addresses. If a faster dispatch has done so, this one starts again.
update :source romancy_addresses a
set a.marked_at = :marked_at
where a.address = :address and a.marked_at = :last

-- name: hold_places (places(owner, life, interest_id, address, kind, where_))
-- Note who has places, and what lanes note of themselves.
insert into romancy_interests (owner, life, interest_id, address, kind, where_, at)
select :owner, :life, :interest_id, :address, :kind, :where_, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from :source (select 1) one where true
on duplicate key update at = values(at), address = values(address), kind = values(kind), where_ = values(where_),
    compared_to = -1, swept = 0

-- name: hold_interests (interests(owner, life, interest_id, address), count) -> held
-- Lock these interests until the end of the transaction, or fail if one has changed since it was read. A purge, which
-- removes interests first, then waits for the transaction.
select if(count(*) = :count, 0, (select 1 union all select 2))
from :source romancy_interests i
where i.owner = :owner and i.life = :life and i.interest_id = :interest_id and i.address = :address for update

-- name: give_mail (mail(instance_id, delivery_id, at, interest, address, message_id))
-- Put messages into inboxes. Without a time of its own, a message has that of its posting. What is taken (for an
-- interest) can be given back.
insert into romancy_inbox (instance_id, delivery_id, body, at, address, interest, spread, projection, posted_at)
select :instance_id, :delivery_id, m.body, coalesce(:at, m.at), m.address, :interest,
    if(:interest is null, null, m.spread), if(:interest is null, null, m.projection),
    if(:interest is null or :at is null, null, m.at)
from :source romancy_messages m
where m.address = :address and m.message_id = :message_id
on duplicate key update delivery_id = romancy_inbox.delivery_id

-- name: mark_mail (mail(instance_id, delivery_id))
-- Mark messages that are not counted yet.
insert into romancy_uncounted (instance_id, delivery_id, at)
select :instance_id, :delivery_id, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) from :source (select 1) one where true
on duplicate key update delivery_id = romancy_uncounted.delivery_id

-- name: give_letters (letters(subscriber, letter_id, at, taken, address, message_id))
-- The same for outside subscribers.
insert into romancy_letters (subscriber, letter_id, address, body, at, message_id, spread, posted_at, projection)
select :subscriber, :letter_id, m.address, m.body, :at, if(:taken, m.message_id, null), if(:taken, m.spread, null),
    if(:taken, m.at, null), if(:taken, m.projection, null)
from :source romancy_messages m
where m.address = :address and m.message_id = :message_id
on duplicate key update letter_id = romancy_letters.letter_id

-- name: end_interests (interests(owner, life, interest_id, address, at))
-- Remove the interests that got a message, if they have not changed since they were read.
delete i from :source romancy_interests i
where i.owner = :owner and i.life = :life and i.interest_id = :interest_id and i.address = :address and i.at = :at

-- name: mark_interests (interests(owner, life, interest_id, address, where_), until)
-- Note that these interests were compared with the messages at their addresses, up to a time, unless they have changed.
update :source romancy_interests i force index (primary)
set i.compared_to = :until
where i.owner = :owner and i.life = :life and i.interest_id = :interest_id and i.address = :address
    and i.kind = _binary'take' and i.where_ = :where_

-- name: mark_messages (messages(address, message_id, at))
-- Note that these messages were compared with the interests at their addresses.
update :source romancy_messages m force index (primary)
set m.compared = 1
where m.address = :address and m.message_id = :message_id and m.at = :at

-- name: drop_messages (messages(address, message_id))
-- Remove messages without receivers. All dispatches of an address find them, so rows that another dispatch holds are
-- left to it.
delete m
from (
    select k.address, k.message_id
    from :source romancy_messages k
    where k.address = :address and k.message_id = :message_id
    limit 1000000000
    for update skip locked
) g
straight_join romancy_messages m on m.address = g.address and m.message_id = g.message_id

-- name: end_messages (messages(address, message_id))
-- Remove messages that were routed.
delete m from :source romancy_messages m
where m.address = :address and m.message_id = :message_id

-- name: hold_free (mail(instance_id, life, delivery_id))
-- Remove the marks of the messages whose receivers are open and not locked by others, and lock these receivers. It
-- never waits, so it can follow the locks of a dispatch, although appends lock their instances first. Without the
-- limit, MySQL merges the derived table into the statement, and deletes the instances as well.
delete u
from (
    select :instance_id as instance_id, :delivery_id as delivery_id
    from :source romancy_instances i
    where i.instance_id = :instance_id and i.life = :life and i.status not in (:closed)
    limit 1000000000
    for update skip locked
) g
straight_join romancy_uncounted u on u.instance_id = g.instance_id and u.delivery_id = g.delivery_id

-- name: signal_free (mail(instance_id, delivery_id, count))
-- Count messages as `signal_instances` does, where one of them has lost its mark.
update :source romancy_instances i
set
    i.signals = i.signals + :count,
    i.wake_at = if(i.owner is null and i.status not in (_binary'stuck', _binary'paused'),
        least(coalesce(i.wake_at, 9223372036854775807), timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))), i.wake_at),
    i.touched_at = timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
where i.instance_id = :instance_id and i.status not in (:closed)
    and not exists (select 1 from romancy_uncounted u where u.instance_id = :instance_id and u.delivery_id = :delivery_id)

-- name: number_free (mail(instance_id, delivery_id))
-- Number those that have lost their marks.
update :source romancy_inbox x
join romancy_instances i on i.instance_id = x.instance_id
set x.number = least(x.number, i.signals)
where x.instance_id = :instance_id and x.delivery_id = :delivery_id
    and not exists (select 1 from romancy_uncounted u where u.instance_id = :instance_id and u.delivery_id = :delivery_id)

-- name: still_uncounted (mail(instance_id, delivery_id)) -> instance_id, delivery_id
-- Those of these messages that have their marks.
select u.instance_id, u.delivery_id
from :source romancy_uncounted u
where u.instance_id = :instance_id and u.delivery_id = :delivery_id

-- name: find_misdelivered
-- Which of these messages went to an instance that has ended or begun another life in the meantime.
select v.instance_id, v.delivery_id
from (:rows) v
left join romancy_instances n on n.instance_id = v.instance_id and n.life = v.life and n.status not in (:closed)
where n.instance_id is null

-- ------------------------------------------------------------------------------------------------------------- giving back

-- name: hold_mail (mail(instance_id, delivery_id, handed)) -> count
-- Lock messages that came from an address, before others move them.
select count(*)
from :source romancy_inbox x
where x.instance_id = :instance_id and x.delivery_id = :delivery_id and x.address is not null
  and x.at = coalesce(:handed, x.at) for update

-- name: return_mail (mail(instance_id, delivery_id, handed))
-- Keep the taken messages of these inboxes at their addresses again.
insert into romancy_messages (address, message_id, spread, at, body, projection, swept)
select x.address, x.delivery_id, x.spread, coalesce(x.posted_at, x.at), x.body, x.projection,
    -timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from :source romancy_inbox x
where x.instance_id = :instance_id and x.delivery_id = :delivery_id and x.interest is not null
  and x.at = coalesce(:handed, x.at)
on duplicate key update address = romancy_messages.address

-- name: unmark_mail (mail(instance_id, delivery_id, handed))
-- Remove the marks of messages that are not counted yet and go back.
delete u from :source romancy_inbox x
straight_join romancy_uncounted u on u.instance_id = x.instance_id and u.delivery_id = x.delivery_id
where x.instance_id = :instance_id and x.delivery_id = :delivery_id and x.address is not null
  and x.at = coalesce(:handed, x.at)

-- name: drop_mail (mail(instance_id, delivery_id, handed))
-- Remove messages that came from an address from inboxes.
delete x from :source romancy_inbox x
where x.instance_id = :instance_id and x.delivery_id = :delivery_id and x.address is not null
  and x.at = coalesce(:handed, x.at)

-- name: hold_letters (subscriber, ids) -> count
-- Lock letters, before others move them.
select count(*) from romancy_letters where subscriber = :subscriber and letter_id in (:ids) for update

-- name: return_letters (subscriber, ids)
-- Keep the messages that a subscriber has taken at their addresses again.
insert into romancy_messages (address, message_id, spread, at, body, projection, swept)
select address, message_id, spread, posted_at, body, projection, -timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from romancy_letters
where subscriber = :subscriber and letter_id in (:ids) and message_id is not null
on duplicate key update address = romancy_messages.address

-- name: drop_letters (subscriber, ids)
-- Forget letters.
delete from romancy_letters where subscriber = :subscriber and letter_id in (:ids)

-- name: lives (owner) -> life
-- The life of an instance, ended or not.
select life from romancy_instances where instance_id = :owner

-- ------------------------------------------------------------------------------------------------------------- registering

-- name: judge_interest (owner, life, address, other, copies)
-- The state that a new interest finds, while its address is locked: 'gone', a kind that excludes it, 'first' for the
-- first interest in copies, else 'free'. Interests of instances that have ended do not count.
select case
    when :life <> 0 and not exists (
        select 1 from romancy_instances n where n.instance_id = :owner and n.life = :life and n.status not in (:closed)
    ) then _binary'gone'
    when k.excluding > 0 then :other
    when k.copies = 0 and :copies then _binary'first'
    else _binary'free'
end into @judged
from (
    select cast(coalesce(sum(i.kind = :other), 0) as signed) as excluding,
        cast(coalesce(sum(i.kind = _binary'copy'), 0) as signed) as copies
    from romancy_interests i force index (by_address)
    left join romancy_instances n on n.instance_id = i.owner and n.life = i.life and n.status not in (:closed)
    where i.address = :address and (i.life = 0 or n.instance_id is not null)
) k

-- name: interest_put (owner, life, interest_id, address, kind, where_)
-- Write the interest unless it is excluded.
insert into romancy_interests (owner, life, interest_id, address, kind, where_, at)
select v.owner, v.life, v.interest_id, v.address, v.kind, v.where_,
    timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from (
    select :owner as owner, :life as life, :interest_id as interest_id, :address as address, :kind as kind,
        :where_ as where_
) v
where @judged in ('first', 'free')
on duplicate key update
    at = if(romancy_interests.address = v.address and romancy_interests.kind = v.kind, romancy_interests.at,
            timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    compared_to = if(romancy_interests.address = v.address and romancy_interests.kind = v.kind
            and romancy_interests.where_ <=> v.where_, romancy_interests.compared_to, -1),
    address = v.address, kind = v.kind, where_ = v.where_, swept = 0

-- name: discard_messages (messages(address, message_id))
-- Remove messages that were kept before the first interest in copies.
delete m from :source romancy_messages m
where m.address = :address and m.message_id = :message_id and @judged = 'first'

-- name: judged () -> finding
-- The finding of judge_interest.
select @judged

-- name: kept_ids (address) -> message_id
-- The messages at an address.
select message_id from romancy_messages where address = :address

-- name: interests (address) -> owner, life, interest_id, kind, where_
-- The interests at an address whose owners can receive messages, the longest registered first.
select i.owner, i.life, i.interest_id, i.kind, i.where_
from romancy_interests i force index (by_address)
left join romancy_instances n on n.instance_id = i.owner and n.life = i.life and n.status not in (:closed)
where i.address = :address and (i.life = 0 or n.instance_id is not null)
order by i.at, i.owner, i.life, i.interest_id

-- ------------------------------------------------------------------------------------------------------- letters and the kept

-- name: letters (subscriber, limit) -> letter_id, address, body, at
-- The oldest letters of a subscriber. Their ids begin with their numbers.
select letter_id, address, body, at from romancy_letters where subscriber = :subscriber order by letter_id limit :limit

-- name: kept_page (after, limit) -> message_id, address, spread, body, at
-- A page of the undelivered messages.
select message_id, address, spread, body, at from romancy_messages force index (by_id)
where message_id > :after order by message_id limit :limit

-- name: kept_at (address, after, limit) -> message_id, address, spread, body, at
-- A page of those at one address.
select message_id, address, spread, body, at from romancy_messages
where address = :address and message_id > :after order by message_id limit :limit

-- name: kept_alike (message_id) -> message_id, address, spread, body, at
-- All with this id, for the last of a page.
select message_id, address, spread, body, at from romancy_messages where message_id = :message_id order by address

-- ------------------------------------------------------------------------------------------------------------------- sweep

-- name: unswept_messages
-- Messages that no sweep has looked at, those that were given back first, then the oldest.
select address, message_id, at, swept from romancy_messages force index (by_sweep)
where swept <= 0 order by swept, at limit :limit

-- name: unswept_interests
-- Interests that no sweep has looked at.
select owner, life, interest_id, address, at from romancy_interests force index (by_sweep)
where swept = 0 limit :limit

-- name: sweep_messages
-- Mark the messages that a sweep has looked at. Recent ones are left: their own dispatch may be under way.
update :source romancy_messages m
set m.swept = 1
where m.address = :address and m.message_id = :message_id and m.at = :at and m.swept = :swept
    and m.at < timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :age

-- name: sweep_interests
-- The same for interests.
update :source romancy_interests i
set i.swept = 1
where i.owner = :owner and i.life = :life and i.interest_id = :interest_id and i.at = :at
    and i.at < timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :age

-- name: find_abandoned
-- The messages that ended or missing instances have taken and never consumed.
select x.instance_id, x.delivery_id
from romancy_inbox x force index (by_interest)
left join romancy_instances n on n.instance_id = x.instance_id and n.status not in (:closed)
where x.interest is not null and n.instance_id is null
limit :limit

-- name: find_outlived
-- A page of interests behind a place, and which of them are of instances that have ended. Those at addresses from `~` on
-- are of instances that have failed.
select i.owner, i.life, i.interest_id, i.life > 0 and n.instance_id is null
from (
    select s.owner, s.life, s.interest_id, s.address
    from romancy_interests s
    where s.owner > :owner or (s.owner = :owner and (s.life > :life or (s.life = :life and s.interest_id > :interest_id)))
    order by s.owner, s.life, s.interest_id
    limit :limit
) i
left join romancy_instances n on n.instance_id = i.owner and n.life = i.life
    and (n.status not in (:closed) or i.address >= _binary'~')

-- ------------------------------------------------------------------------------------------------------ purging and expiring

-- name: prune_interests (ids)
-- Remove the interests of these instances, before anything else of theirs: see hold_interests. A range of lives would also
-- lock the next row, which is of another owner.
delete from romancy_interests where owner in (:ids) and life + 0 > 0

-- name: hold_taken (ids) -> number
-- Lock the messages that these instances have taken.
select count(*) from romancy_inbox where instance_id in (:ids) and interest is not null for update

-- name: return_taken (ids)
-- Keep these messages at their addresses again.
insert into romancy_messages (address, message_id, spread, at, body, projection, swept)
select address, delivery_id, spread, coalesce(posted_at, at), body, projection,
    -timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from romancy_inbox
where instance_id in (:ids) and interest is not null
on duplicate key update address = romancy_messages.address

-- name: find_expired (before, limit) -> address, message_id
-- Old messages at addresses without interests.
select m.address, m.message_id
from romancy_messages m force index (by_sweep)
where (m.swept in (0, 1) and m.at < :before or m.swept < 0 and m.at < :before)
    and not exists (select 1 from romancy_interests i where i.address = m.address)
limit :limit

-- name: find_unread (before, limit) -> subscriber, letter_id
-- Old letters of subscribers without interests.
select l.subscriber, l.letter_id
from romancy_letters l
where l.at < :before and not exists (select 1 from romancy_interests i where i.owner = l.subscriber and i.life = 0)
limit :limit

-- name: end_letters (letters(subscriber, letter_id))
-- Remove letters.
delete l from :source romancy_letters l
where l.subscriber = :subscriber and l.letter_id = :letter_id

-- name: find_unused (before, limit) -> address, marked_at
-- Addresses where nothing is kept or wanted. A later number is never below the time, so the count may begin again.
select a.address, a.marked_at
from romancy_addresses a
where a.number < :before
    and not exists (select 1 from romancy_messages m where m.address = a.address)
    and not exists (select 1 from romancy_interests i where i.address = a.address)
limit :limit

-- name: find_notes (before, limit) -> owner, life, interest_id, address, at
-- What lanes note of places that were given longer ago than their period.
select i.owner, i.life, i.interest_id, i.address, i.at
from romancy_interests i
where i.address >= _binary'b/' and i.address < :before
limit :limit

-- name: end_addresses (addresses(address, marked_at), before)
-- Remove addresses that no copy has used since, and where nothing was marked since.
delete a from :source romancy_addresses a
where a.address = :address and a.marked_at = :marked_at and a.number < :before
