-- Single statements that answer for many ids, or look at a bounded part of a table.

-- name: place_behind
-- gives: int, text
-- The instance so many places behind another one, newest first.
select created_at, instance_id from romancy_instances {by_age}
where (created_at, instance_id) < (:at, :instance_id) and created_at <= :at
order by created_at desc, instance_id desc
limit 1 offset :behind;

-- name: declared_sets
-- gives: text, text
-- Every set of declared paths with its workflow, a path on each line.
select workflow_name, paths from romancy_index_sets;

-- name: taken_ids
-- gives: text
-- Which of these ids have instances.
select instance_id from romancy_instances where instance_id {among :ids};

-- name: lying
-- gives: text, text, bytes, int, text, text
-- Messages in inboxes behind a place, up to an instance; a page ends where it has too many bytes.
select instance_id, delivery_id, body, at, address, interest
from (
    select m.*, sum(length(body)) over (order by instance_id, delivery_id) - length(body) as size
    from (
        select instance_id, delivery_id, body, at, address, interest from romancy_inbox
        where
            (instance_id, delivery_id) > (:instance_id, :delivery_id)
            and instance_id >= :instance_id and instance_id <= :last
        order by instance_id, delivery_id
        limit :limit
    ) m
) m
where size < :bytes
order by instance_id, delivery_id;
