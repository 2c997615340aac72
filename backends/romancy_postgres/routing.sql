-- Routing: messages that are posted to addresses, interests in them, and the dispatch that matches both.
--
-- A dispatch takes the locks of its addresses first, then interests, then messages, and no instance. An address is
-- locked by an advisory lock that ends with the transaction: most addresses are those of keys, used once, and a row for
-- each would have to be written and removed. A dispatch reads the rows for its decision by statements that begin after
-- the lock is held. Interests and messages are locked where they are used; rows that are gone by then are left out.

-- name: messages_add
-- Keep messages, one row for each place, and answer for each message ($1 numbers them) whether it is new.
with place as materialized (
    select *
    from unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[])
         as t (n, message_id, dedupe, address, spread, body, projection)
), clock as materialized (
    select romancy_now() as now
), :part_post
select bool_and(n in (select n from new))
from place
group by n
order by n;

-- name: interests_change (gone(owner, life, interest_id),
-- wanted(owner, life, interest_id, address, kind, where_, ahead))
-- Remove interests, and register others or replace those of the same id. While its address and kind stay the same, an
-- interest keeps its place in the queue. No id is both in the first three arrays and in the others.
with gone as (
    delete from romancy_interests i
    using unnest($1::text[], $2::bigint[], $3::text[]) as t (owner, life, interest_id)
    where i.owner = t.owner and i.life = t.life and i.interest_id = t.interest_id
)
insert into romancy_interests as i (at, owner, life, interest_id, address, kind, where_)
select clock.now - t.ahead, t.owner, t.life, t.interest_id, t.address, t.kind, t.where_
from unnest($4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bigint[])
     as t (owner, life, interest_id, address, kind, where_, ahead)
cross join (select romancy_now() as now) as clock
on conflict (owner, life, interest_id) do update
set at = case when i.address = excluded.address and i.kind = excluded.kind then i.at else excluded.at end,
    address = excluded.address, kind = excluded.kind, where_ = excluded.where_, compared_to = -1
where i.address <> excluded.address or i.kind <> excluded.kind or i.where_ is distinct from excluded.where_;

-- name: route_due (addresses) -> address, key
-- The addresses that may have something to route, with the keys of their locks. Where nobody listens, messages for all
-- listeners are removed at once. (The server might answer an EXISTS from a hash of the whole table.)
with place as materialized (
    select t.address,
           (select true from romancy_interests i where i.address = t.address and i.kind = 'copy' limit 1) as heard,
           (select true from romancy_interests i where i.address = t.address and i.kind = 'take' limit 1) as wanted
    from (select distinct address collate "C" as address from unnest($1::text[]) as t (address) order by 1) t
), unheard as (
    delete from romancy_messages m
    using place
    where m.address = place.address and m.spread = 'every' and place.heard is null
)
select address, hashtextextended(address collate "C", to_regclass('romancy_messages')::oid::bigint) as key
from place
where (heard or wanted) and (select true from romancy_messages m where m.address = place.address limit 1);

-- name: lane_due (addresses) -> address, key
-- Those of these lanes at which something has changed and somebody waits, with the keys of their locks. Where nobody
-- waits, the messages are removed, unless a dispatch is under way. Who asks later brings a message of its own.
with lane as materialized (
    select address, hashtextextended(address collate "C", to_regclass('romancy_messages')::oid::bigint) as key
    from unnest($1::text[]) as t (address)
    where exists (select from romancy_messages m where m.address = t.address)
),
unwanted as materialized (
    select address, key from lane
    where not exists (select from romancy_interests w where w.address = lane.address)
        and not exists (
            select from romancy_interests w
            where w.address >= lane.address || chr(31) collate "C" and w.address < lane.address || chr(32) collate "C"
        )
),
locked as materialized (select address from unwanted where pg_try_advisory_xact_lock(key)),
removed as (
    delete from romancy_messages m using locked where m.address = locked.address
)
select address, key from lane where address not in (select address from locked);

-- name: hold_places (places(owner, life, interest_id, address, kind, where_))
-- Note who has places, and what lanes note of themselves.
insert into romancy_interests as i (at, owner, life, interest_id, address, kind, where_)
select romancy_now(), t.owner, t.life, t.interest_id, t.address, t.kind, t.where_
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[])
     as t (owner, life, interest_id, address, kind, where_)
on conflict (owner, life, interest_id) do update
set at = excluded.at, address = excluded.address, kind = excluded.kind, where_ = excluded.where_, compared_to = -1;

-- name: route_lock (addresses) -> lock
-- Keep all dispatches, which lock by the same keys, and registrations off these addresses until the transaction ends.
-- The tables' own number is part of the keys: a server knows one space of advisory locks for all tables.
select pg_advisory_xact_lock(key)
from (select distinct hashtextextended(address collate "C", to_regclass('romancy_messages')::oid::bigint) as key
      from unnest($1::text[]) as t (address)
      order by key offset 0) ordered;

-- name: lanes_lock_now (lanes) -> address
-- Keep all dispatches off these lanes until the transaction ends, except off those that others hold now.
select address
from (select distinct on (key, address) key, address
      from (select address, hashtextextended(address collate "C", to_regclass('romancy_messages')::oid::bigint) as key
            from unnest($1::text[]) as t (address)) keyed
      order by key, address offset 0) ordered
where pg_try_advisory_xact_lock(key);

-- name: lane_rooms (lanes, held, low, below, terms, limits, most) -> held, taken, heavy, waits, chosen
-- As `lane_room`, of several lanes.
select t.held, p.taken, p.heavy,
    case when exists (select from romancy_interests w where w.address = t.lane)
        or exists (select from romancy_interests w where w.address >= t.low and w.address < t.below)
        then 1 else 0 end,
    (select c.where_ from romancy_interests c where c.owner = $6::text and c.life = 0 and c.interest_id = t.terms)
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as t (lane, held, low, below, terms)
cross join lateral (
    select count(*) as taken, count(*) filter (where one.interest_id like '%~%#%') as heavy
    from (select i.interest_id from romancy_interests i where i.address = t.held limit $7::int) one
) p;

-- name: first_writers (instance_ids, lives, writers) -> instance_id
-- Which of these appends are the first ones in the logs of their lives.
select l.instance_id
from unnest($1::text[], $2::bigint[], $3::text[]) as t (instance_id, life, writer)
join romancy_log l on l.instance_id = t.instance_id and l.life = t.life and l.seq = 1 and l.writer = t.writer;

-- name: route_interests (addresses(address), limit) -> owner, life, interest_id, address, kind, where_, at, compared_to,
-- open, number, now
-- The interests at these addresses whose owners can receive messages, with the number of the last copy from the
-- address, and the time. A message has one taker, so of the takers without conditions as many are read as there are
-- messages, of which $2 are looked at. Also those that were compared with messages, and whose owners cannot receive any
-- now.
select i.owner, i.life, i.interest_id, i.address, i.kind, i.where_, i.at, i.compared_to, i.open, n.number, clock.now
from unnest($1::text[]) as t (address)
cross join (select romancy_now() as now) as clock
cross join lateral (
    (select i.address, i.kind, i.owner, i.life, i.interest_id, i.where_, i.at, i.compared_to, true as open
     from romancy_interests i
     where i.address = t.address and i.kind = 'copy'
       and (i.life = 0 or (select true from romancy_instances x
                           where x.instance_id = i.owner and x.life = i.life
                             and x.status not in ('completed', 'failed', 'cancelled')))
     offset 0)
    union all
    (select i.address, i.kind, i.owner, i.life, i.interest_id, i.where_, i.at, i.compared_to, coalesce(x.open, false)
     from romancy_interests i
     left join lateral (
         select true as open where i.life = 0
         union all
         select true from romancy_instances x
         where i.life <> 0 and x.instance_id = i.owner and x.life = i.life
           and x.status not in ('completed', 'failed', 'cancelled')
     ) x on true
     where i.address = t.address and i.kind = 'take' and i.where_ is not null and (x.open or i.compared_to >= 0)
     offset 0)
    union all
    (select i.address, i.kind, i.owner, i.life, i.interest_id, i.where_, i.at, i.compared_to, true
     from romancy_interests i
     where i.address = t.address and i.kind = 'take' and i.where_ is null
       and (i.life = 0 or (select true from romancy_instances x
                           where x.instance_id = i.owner and x.life = i.life
                             and x.status not in ('completed', 'failed', 'cancelled')))
     order by i.at, i.owner, i.interest_id
     limit (select count(*)
            from (select from romancy_messages m where m.address = t.address limit $2::bigint) kept))
) i
left join romancy_addresses n on n.address = t.address;

-- name: route_messages (addresses(address), at, message_id, after, limit) -> address, message_id, spread, at, projection,
-- compared, least, marked_at
-- A page of the messages at these addresses behind a place ($2, $3, $4), the oldest first. Each address is asked for as
-- many messages of each spread as could have receivers; with projections where an interest has a condition. Those that
-- were compared with all interests are not read again.
with place as materialized (
    select t.address,
           (select true from romancy_interests i where i.address = t.address and i.kind = 'copy' limit 1) as heard,
           coalesce(
               (select true from romancy_interests i
                where i.address = t.address and i.kind = 'take' and i.where_ is not null limit 1),
               (select true from romancy_interests i
                where i.address = t.address and i.kind = 'copy' and i.where_ is not null limit 1)) as searched,
           (select count(*)
            from (select from romancy_interests i where i.address = t.address and i.kind = 'take' limit $5::bigint) i
           ) as takers,
           case when (select true from romancy_interests i
                      where i.address = t.address and i.kind in ('take', 'copy') and i.compared_to < 0 limit 1)
                then -1
                else (select min(i.compared_to) from romancy_interests i
                      where i.address = t.address and i.kind = 'take')
           end as least
    from unnest($1::text[]) as t (address)
)
select m.address, m.message_id, m.spread, m.at, m.projection, m.compared,
       case when place.searched then place.least end as least, 0
from place
cross join lateral (
    values ('every', $5::bigint),
           ('channel', case when place.heard or place.searched then $5::bigint else place.takers end),
           ('one', case when place.searched then $5::bigint else place.takers end)
) s (spread, most)
cross join (values (false), (true)) c (compared)
cross join lateral (
    select m.address, m.message_id, m.spread, m.at, m.compared,
           case when place.searched then m.projection end as projection
    from romancy_messages m
    where m.address = place.address and m.spread = s.spread and m.compared = c.compared
      and (m.at > place.least or not c.compared) and (m.at, m.message_id) >= ($2::bigint, $3::text)
      and (m.at, m.message_id, m.address) > ($2::bigint, $3::text, $4::text)
    order by m.at, m.message_id
    limit case when c.compared and (s.spread = 'every' or place.least = 9223372036854775807) then 0 else s.most end
) m
order by m.at, m.message_id, m.address
limit $5::bigint;

-- name: route_take (takes(owner, life, interest_id, delivery_id, number, address, message_id, since)) -> owner,
-- life, delivery_id
-- Move messages to their takers, and remove the takers' interests. The interests and messages are locked first, so that
-- rows that are gone by then are left out, and a purge of the owner waits and then finds the messages. A message that lies
-- in the taker's inbox already, because it was posted twice, goes, and the interest stays. The number of a letter is its
-- time; that of mail is the time of the take, or null for the time of posting. Who has a place of a lane (p/…) gets a
-- message of the lane (l/…), and so does who waits in a line of it.
with held as materialized (
    select m.message_id, m.address, m.spread, m.at, m.body, m.projection, i.owner, i.life, i.interest_id, t.number,
           t.delivery_id
    from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bigint[])
         as t (owner, life, interest_id, delivery_id, number, address, message_id, since)
    cross join lateral (
        select i.owner, i.life, i.interest_id
        from romancy_interests i
        where i.owner = t.owner and i.life = t.life and i.interest_id = t.interest_id and i.address || '' = t.address
          and (i.life = 0 or (select true from romancy_instances x
                              where x.instance_id = i.owner and x.life = i.life
                                and x.status not in ('completed', 'failed', 'cancelled')))
        for update
    ) i
    cross join lateral (
        select m.message_id, m.address, m.spread, m.at, m.body, m.projection
        from romancy_messages m
        where m.message_id = t.message_id
          and m.address = case when t.address like 'p/%' then 'l' || substr(t.address, 2)
                               when t.address like 'l/%' then split_part(t.address, chr(31), 1) else t.address end
        for update
    ) m
), mailed as (
    insert into romancy_inbox
        (instance_id, delivery_id, body, at, posted_at, counted, address, interest, spread, projection)
    select owner, delivery_id, body, coalesce(number, at), case when number is not null then at end, false, address,
           interest_id, spread, projection
    from held
    where life <> 0
    order by owner collate "C", delivery_id collate "C"
    on conflict do nothing
    returning instance_id, delivery_id
), lettered as (
    insert into romancy_letters
        (subscriber, letter_id, body, at, address, message_id, posted_at, spread, projection)
    select owner, delivery_id, body, number, address, message_id, at, spread, projection
    from held
    where life = 0
    order by owner collate "C", delivery_id collate "C"
    returning subscriber, letter_id
), given as materialized (
    select *
    from held
    where case when life <> 0 then (owner, delivery_id) in (select instance_id, delivery_id from mailed)
               else (owner, delivery_id) in (select subscriber, letter_id from lettered) end
), answered as (
    delete from romancy_interests i
    using given
    where i.owner = given.owner and i.life = given.life and i.interest_id = given.interest_id
), moved as (
    delete from romancy_messages m
    using held
    where m.message_id = held.message_id and m.address = held.address
)
select owner, life, delivery_id from given;

-- name: route_copy (copies(owner, life, interest_id, delivery_id, number, address, message_id)) -> owner, inside,
-- delivery_id
-- Put copies into the inboxes of listeners. Their interests stay, and are locked so that a purge of the owner waits.
-- Each is looked up by its key. (By address and kind, the server would compare every copy with every listener.)
with held as materialized (
    select m.address, m.body, i.owner, i.life, t.number, t.delivery_id
    from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
         as t (owner, life, interest_id, delivery_id, number, address, message_id)
    cross join lateral (
        select i.owner, i.life
        from romancy_interests i
        where i.owner = t.owner and i.life = t.life and i.interest_id = t.interest_id
          and i.address || '' = t.address and i.kind || '' = 'copy'
          and (i.life = 0 or (select true from romancy_instances x
                              where x.instance_id = i.owner and x.life = i.life
                                and x.status not in ('completed', 'failed', 'cancelled')))
        for key share
    ) i
    join romancy_messages m on m.message_id = t.message_id and m.address = t.address
), mailed as (
    insert into romancy_inbox (instance_id, delivery_id, body, at, counted, address)
    select owner, delivery_id, body, number, false, address
    from held
    where life <> 0
    order by owner collate "C", delivery_id collate "C"
    on conflict do nothing
    returning instance_id, delivery_id
), lettered as (
    insert into romancy_letters (subscriber, letter_id, body, at, address)
    select owner, delivery_id, body, number, address
    from held
    where life = 0
    order by owner collate "C", delivery_id collate "C"
    on conflict do nothing
    returning subscriber, letter_id
)
select instance_id, true, delivery_id from mailed
union all
select subscriber, false, letter_id from lettered;

-- name: route_count (mail(instance_id, delivery_id)) -> instance_id, over
-- Count at once the mail of instances that are not locked, and return these and those that have ended. The mail of the
-- others is counted after the commit (`count_mail`). The statement never waits, so a dispatch keeps one order of locks
-- with appends, which lock their instance first.
with held as materialized (
    select t.instance_id, t.delivery_id, x.signals, x.over
    from (select * from unnest($1::text[], $2::text[]) as t (instance_id, delivery_id)
          order by instance_id collate "C" offset 0) t
    cross join lateral (
        select i.signals, i.status in ('completed', 'failed', 'cancelled') as over
        from romancy_instances i
        where i.instance_id = t.instance_id
        for no key update skip locked
    ) x
), marked as (
    update romancy_inbox m set counted = true, number = held.signals + 1
    from held
    where m.instance_id = held.instance_id and m.delivery_id = held.delivery_id and not m.counted and not held.over
    returning m.instance_id
), new as materialized (
    select instance_id, count(*) as mail, romancy_now() as now from marked group by instance_id
), counted as (
    update romancy_instances i
    set signals = i.signals + new.mail,
        wake_at = case when i.owner is null and i.status not in ('stuck', 'paused')
                       then least(i.wake_at, new.now) else i.wake_at end
    from new
    where i.instance_id = new.instance_id
)
select distinct instance_id, over from held;

-- name: route_finish (finished(address, message_id), numbers(address, number, last))
-- Remove messages that were delivered or dropped, and store the numbers of the last copies ($3, $4, before $5).
with finished as (
    delete from romancy_messages m
    using unnest($1::text[], $2::text[]) as t (address, message_id)
    where m.message_id = t.message_id and m.address = t.address
)
insert into romancy_addresses as a (address, number)
select address, number from unnest($3::text[], $4::bigint[], $5::bigint[]) as t (address, number, last)
order by address collate "C"
on conflict (address) do update set number = greatest(a.number, excluded.number);

-- name: route_mark (messages(address, message_id, at), interests(owner, life, interest_id, address, where_), until)
-- Note that these messages were compared with the interests at their addresses, and these interests with the messages
-- there, up to the time $9. An interest that others hold, or have changed, is left out: it is compared again.
with held as materialized (
    select i.owner, i.life, i.interest_id
    from unnest($4::text[], $5::bigint[], $6::text[], $7::text[], $8::bytea[])
         as t (owner, life, interest_id, address, where_)
    cross join lateral (
        select i.owner, i.life, i.interest_id
        from romancy_interests i
        where i.owner = t.owner and i.life = t.life and i.interest_id = t.interest_id and i.address || '' = t.address
          and i.kind || '' = 'take' and i.where_ = t.where_
        for update skip locked
    ) i
), compared as (
    update romancy_interests i set compared_to = $9::bigint
    from held
    where i.owner = held.owner and i.life = held.life and i.interest_id = held.interest_id
)
update romancy_messages m set compared = true
from unnest($1::text[], $2::text[], $3::bigint[]) as t (address, message_id, at)
where m.message_id = t.message_id and m.address = t.address and m.at = t.at;

-- name: sweep_newest
-- Addresses of the newest messages and interests ($1 of each): what a crash has left undone is mostly there.
select address from (
    (select address from romancy_messages order by at desc limit $1)
    union
    (select address from romancy_interests where kind || '' <> 'member' order by at desc limit $1)
) recent;

-- name: sweep_addresses
-- The next $2 addresses after $1 that hold messages, by one index probe each.
with recursive walk as (
    (select address from romancy_messages where address > $1 order by address limit 1)
    union all
    select (select m.address from romancy_messages m where m.address > walk.address order by m.address limit 1)
    from walk
    where walk.address is not null
)
select address from (select address from walk limit $2) page where address is not null;

-- name: sweep_owners
-- Instances that have ended, or are not there, and to which interests or taken messages still belong: among the $1 that
-- ended last, and among $1 interests and $1 taken messages behind those keys ($2, $3). The last row says where to
-- continue. Interests at addresses from `~` on are of instances that have failed.
with page as materialized (
    select owner, life, address
    from romancy_interests
    where owner > $2::text
    order by owner, life, interest_id
    limit $1
), mail as materialized (
    select instance_id
    from romancy_inbox
    where interest is not null and instance_id > $3::text
    order by instance_id, delivery_id
    limit $1
)
select instance_id, null as next_owner, null as next_mail
from (
    select x.instance_id
    from (select instance_id
          from romancy_instances
          where status in ('completed', 'failed', 'cancelled')
          order by updated_at desc
          limit $1) x
    where (select true from romancy_interests i
           where i.owner = x.instance_id and i.life <> 0 and i.address < '~' limit 1)
       or (select true from romancy_inbox m where m.instance_id = x.instance_id and m.interest is not null limit 1)
    union
    select page.owner
    from page
    where page.life <> 0
      and coalesce((select x.life <> page.life
                           or (x.status in ('completed', 'failed', 'cancelled') and page.address < '~')
                    from romancy_instances x where x.instance_id = page.owner), true)
    union
    select mail.instance_id
    from mail
    where coalesce((select x.status in ('completed', 'failed', 'cancelled')
                    from romancy_instances x where x.instance_id = mail.instance_id), true)
) over
union all
select null,
       case when (select count(*) from page) = $1 then (select max(owner) from page) end,
       case when (select count(*) from mail) = $1 then (select max(instance_id) from mail) end;

-- name: sweep_ended
-- Remove the interests of instances that have ended or are gone, and those of former lives; give back the messages that
-- ended instances had taken. An ended instance that another transaction holds may be reopened, and is as one that is
-- open. Open ones are not locked: a claim skips locked rows, and looks for them again only after a moment.
with held as materialized (
    select instance_id from romancy_instances
    where instance_id = any ($1::text[]) and status in ('completed', 'failed', 'cancelled')
    order by instance_id for no key update skip locked
), judged as materialized (
    select t.instance_id, x.life, case when x.instance_id is not null then held.instance_id is not null end as over
    from unnest($1::text[]) as t (instance_id)
    left join held using (instance_id)
    left join romancy_instances x using (instance_id)
), gone as (
    delete from romancy_interests i
    using judged
    where i.owner = judged.instance_id and i.life <> 0
      and (judged.over is null or (judged.over and i.address < '~') or i.life <> judged.life)
), taken as (
    delete from romancy_inbox m
    using judged
    where m.instance_id = judged.instance_id and m.interest is not null and (judged.over is null or judged.over)
    returning m.*
)
insert into romancy_messages (at, message_id, address, spread, body, projection)
select coalesce(posted_at, at), delivery_id, address, spread, body, projection from taken
order by delivery_id collate "C", address collate "C"
on conflict do nothing;

-- name: register_interest (owner, life, interest_id, address, kind, where_, other) -> there, allowed
-- Register an interest if its owner exists and no interest of a conflicting kind ($7) does. The first interest in
-- copies gets only messages that are posted from then on. The caller holds the lock of the address, if the kind
-- matters.
with owner as materialized (
    select true as there
    where $2::bigint = 0
       or (select true from romancy_instances x
           where x.instance_id = $1 and x.life = $2 and x.status not in ('completed', 'failed', 'cancelled'))
), standing as materialized (
    select distinct i.kind
    from unnest(array[$7::text, $5::text]) as wanted (kind)
    cross join lateral (
        select i.kind
        from romancy_interests i
        where i.address = $4::text and i.kind = wanted.kind and i.kind <> 'take'
          and (i.life = 0 or (select true from romancy_instances x
                              where x.instance_id = i.owner and x.life = i.life
                                and x.status not in ('completed', 'failed', 'cancelled')))
        limit 1
    ) i
), allowed as materialized (
    select there from owner where $7 is null or $7 not in (select kind from standing)
), discarded as (
    delete from romancy_messages m
    where m.address = $4 and $5 = 'copy' and exists (select from allowed) and 'copy' not in (select kind from standing)
), written as (
    insert into romancy_interests as i (at, owner, life, interest_id, address, kind, where_)
    select romancy_now(), $1::text, $2, $3::text, $4, $5, $6::bytea from allowed
    on conflict (owner, life, interest_id) do update
    set at = case when i.address = excluded.address and i.kind = excluded.kind then i.at else excluded.at end,
        address = excluded.address, kind = excluded.kind, where_ = excluded.where_, compared_to = -1
    where i.address <> excluded.address or i.kind <> excluded.kind or i.where_ is distinct from excluded.where_
)
select exists (select from owner) as there, exists (select from allowed) as allowed;

-- name: drop_interests (interests(owner, life, interest_id))
-- Remove interests.
delete from romancy_interests i
using unnest($1::text[], $2::bigint[], $3::text[]) as t (owner, life, interest_id)
where i.owner = t.owner and i.life = t.life and i.interest_id = t.interest_id;

-- name: interests (address) -> owner, life, interest_id, kind, where_
-- The interests in an address, the longest registered first.
select i.owner, i.life, i.interest_id, i.kind, i.where_
from romancy_interests i
where i.address = $1
  and (i.life = 0 or (select true from romancy_instances x
                      where x.instance_id = i.owner and x.life = i.life
                        and x.status not in ('completed', 'failed', 'cancelled')))
order by i.at, i.owner, i.life, i.interest_id;

-- name: give_back (owner, life, ids, at) -> count
-- Remove messages from an inbox, all or those handed out then, and return taken ones to their addresses. The instance is locked first, as by the
-- append that could consume them. Messages of a missing instance have no owner.
with held as materialized (
    select life from romancy_instances where instance_id = $1 for no key update
), gone as (
    delete from romancy_inbox m
    where m.instance_id = $1 and m.delivery_id = any ($3::text[]) and m.address is not null
      and coalesce((select life from held), $2::bigint) = $2 and m.at = coalesce($4::bigint, m.at)
    returning m.*
), back as (
    insert into romancy_messages (at, message_id, address, spread, body, projection)
    select coalesce(posted_at, at), delivery_id, address, spread, body, projection
    from gone
    where interest is not null
    order by delivery_id collate "C", address collate "C"
    on conflict do nothing
)
select count(*) from gone;

-- name: letters_back (subscriber, ids) -> count
-- The same with letters of a subscriber outside.
with gone as (
    delete from romancy_letters where subscriber = $1 and letter_id = any ($2::text[]) returning *
), back as (
    insert into romancy_messages (at, message_id, address, spread, body, projection)
    select posted_at, message_id, address, spread, body, projection
    from gone
    where message_id is not null
    order by message_id collate "C", address collate "C"
    on conflict do nothing
)
select count(*) from gone;

-- name: letters (subscriber, limit) -> letter_id, address, body, at
-- The oldest letters of a subscriber outside.
select letter_id, address, body, at from romancy_letters where subscriber = $1 order by at, letter_id limit $2;

-- name: drop_letters (subscriber, ids)
-- Forget letters.
delete from romancy_letters where subscriber = $1 and letter_id = any ($2::text[]);

-- name: kept (after, limit) -> message_id, address, spread, body, at
-- A page of undelivered messages, with all places of the last.
select message_id, address, spread, body, at
from romancy_messages
where message_id > $1
order by message_id
fetch first ($2::bigint) rows with ties;

-- name: kept_at (address, after, limit) -> message_id, address, spread, body, at
-- The same at one address.
select message_id, address, spread, body, at
from (select * from romancy_messages where address = $1 and message_id || '' > $2 offset 0) here
order by message_id
limit $3;

-- name: expire (before, limit) -> count
-- Remove messages and letters from before $1, up to $2 of each, if no interest is left.
with old as materialized (
    select message_id, address
    from romancy_messages m
    where m.at < $1 and (select true from romancy_interests i where i.address = m.address limit 1) is null
    order by m.at
    limit $2
    for update skip locked
), unread as materialized (
    select subscriber, letter_id
    from romancy_letters l
    where l.at < $1 and (select true from romancy_interests i
                         where i.owner = l.subscriber and i.life = 0 limit 1) is null
    order by l.at
    limit $2
    for update skip locked
), expired as (
    delete from romancy_messages m using old
    where m.message_id = old.message_id and m.address = old.address
    returning 1
), thrown as (
    delete from romancy_letters l using unread
    where l.subscriber = unread.subscriber and l.letter_id = unread.letter_id
    returning 1
)
select (select count(*) from expired) + (select count(*) from thrown);

-- name: expire_notes (before, limit)
-- Remove what lanes note of places that were given longer ago than their period, up to $2.
delete from romancy_interests i
using (
    select owner, life, interest_id
    from romancy_interests
    where address >= 'b/' and address < $1
    limit $2
    for update skip locked
) old
where i.owner = old.owner and i.life = old.life and i.interest_id = old.interest_id;

-- name: expire_addresses (before, limit)
-- Forget the numbers of addresses where nothing is kept or wanted, and that no copy has used since $1. A new number is a
-- later time.
delete from romancy_addresses a
where a.address = any (array(
    select b.address
    from romancy_addresses b
    where (select true from romancy_messages m where m.address = b.address limit 1) is null
      and (select true from romancy_interests i where i.address = b.address limit 1) is null
      and b.number < $1
    limit $2
    for update skip locked));
