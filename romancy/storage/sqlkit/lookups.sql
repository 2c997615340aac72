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
-- posted_at
-- Messages in inboxes behind a place, up to an instance; a page ends where it has too many bytes.
select instance_id, delivery_id, body, at, address, interest, posted_at
from (
    select m.*, sum(length(body)) over (order by instance_id, delivery_id) - length(body) as size
    from (
        select instance_id, delivery_id, body, at, address, interest, posted_at from romancy_inbox
        where
            (instance_id, delivery_id) > (:instance_id, :delivery_id)
            and instance_id >= :instance_id and instance_id <= :last
        order by instance_id, delivery_id
        limit :limit
    ) m
) m
where size < :bytes
order by instance_id, delivery_id;
