-- Rows of a log that take the place of its last one.

-- name: amend_hold (instance_id, life) -> owner
-- Keep others from appending to the log of an instance, and from taking it.
select owner from romancy_instances where instance_id = :instance_id and life = :life {held};

-- name: amend_look (instance_id, life, seq) -> seq, writer
-- The row at a place, and whether there is one behind it.
select seq, writer from romancy_log
where instance_id = :instance_id and life = :life and seq >= :seq
order by seq
limit 2;

-- name: amend_log (instance_id, life, seq, behind, writer, body)
-- Another row in the place of this one.
update romancy_log
set writer = :writer, body = :body, at = (select {now})
where instance_id = :instance_id and life = :life and seq = :seq and writer = :behind;
