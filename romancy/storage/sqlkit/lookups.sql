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
