-- Single statements that answer for many ids, or look at a bounded part of a table.

-- name: place_behind (at, instance_id, behind) -> created_at, instance_id
-- The instance so many places behind another one, newest first.
select created_at, instance_id from romancy_instances {by_age}
where (created_at, instance_id) < (:at, :instance_id) and created_at <= :at
order by created_at desc, instance_id desc
limit 1 offset :behind;

-- name: taken_ids (ids) -> instance_id
-- Which of these ids have instances.
select instance_id from romancy_instances where instance_id {among :ids};

-- name: lying (instance_id, delivery_id, last, limit, bytes) -> instance_id, delivery_id, body, at, address, interest,
-- posted_at, spread, projection
-- Messages in inboxes behind a place, up to an instance; a page ends where it has too many bytes.
select instance_id, delivery_id, body, at, address, interest, posted_at, spread, projection
from (
    select m.*, sum(length(body)) over (order by instance_id, delivery_id) - length(body) as size
    from (
        select instance_id, delivery_id, body, at, address, interest, posted_at, spread, projection
        from romancy_inbox
        where
            (instance_id, delivery_id) > (:instance_id, :delivery_id)
            and instance_id >= :instance_id and instance_id <= :last
        order by instance_id, delivery_id
        limit :limit
    ) m
) m
where size < :bytes
order by instance_id, delivery_id;

-- name: questions_here (address, at, owner, interest_id, limit) -> address, at, owner, interest_id, where_, workflow_name
-- Questions at an address behind a place there, of instances that have not ended.
select i.address, i.at, i.owner, i.interest_id, i.where_, x.workflow_name
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address = :address and i.kind = 'member' and i.at >= :at
    and (i.at > :at or i.owner > :owner or (i.owner = :owner and i.interest_id > :interest_id))
    and x.status not in ('completed', 'failed', 'cancelled')
order by i.at, i.owner, i.life, i.interest_id
limit :limit;

-- name: questions_behind (address, below, limit) -> address, at, owner, interest_id, where_, workflow_name
-- The first questions at the addresses behind one, and before another.
select i.address, i.at, i.owner, i.interest_id, i.where_, x.workflow_name
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address > :address and i.address < :below and i.kind = 'member'
    and x.status not in ('completed', 'failed', 'cancelled')
order by i.address, i.at, i.owner, i.life, i.interest_id
limit :limit;

-- name: questions_of (owner, first, last, limit) -> address, at, owner, interest_id, where_, workflow_name
-- Questions of an instance that has not ended, by their ids.
select i.address, i.at, i.owner, i.interest_id, i.where_, x.workflow_name
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.owner = :owner and i.interest_id >= :first and i.interest_id <= :last and i.address like 'q/%'
    and x.status not in ('completed', 'failed', 'cancelled')
order by i.interest_id
limit :limit;

-- name: failures (address, most) -> interest_id, number, since, last, owner, first, about
-- The newest failures by their groups, the group with the newest one first: how many, from when to when, the last one,
-- and what the first and the last have recorded. Of some at the same time, which a batch has written, one is chosen.
select k.interest_id, k.number, k.since, k.last, k.newest as owner, f.where_ as first, l.where_ as about
from (
    select
        g.interest_id,
        g.number,
        g.since,
        g.last,
        (
            select min(i.owner) from romancy_interests i {at_address}
            where i.address = :address and i.kind = 'member' and i.at = g.since and i.interest_id = g.interest_id
        ) as oldest,
        (
            select max(i.owner) from romancy_interests i {at_address}
            where i.address = :address and i.kind = 'member' and i.at = g.last and i.interest_id = g.interest_id
        ) as newest
    from (
        select n.interest_id, count(*) as number, min(n.at) as since, max(n.at) as last
        from (
            select interest_id, at from romancy_interests {at_address}
            where address = :address and kind = 'member'
            order by at desc
            limit :most
        ) n
        group by n.interest_id
    ) g
) k {then_join}
romancy_interests f {by_owner} on f.owner = k.oldest and f.interest_id = k.interest_id {then_join}
romancy_interests l {by_owner} on l.owner = k.newest and l.interest_id = k.interest_id
order by k.last desc, k.interest_id;

-- name: groups_of (ids, address) -> owner, interest_id
-- The groups of failures that instances are in.
select owner, interest_id from romancy_interests where owner {among :ids} and address = :address;
