-- What user code has logged about instances, and what their streams hold.

-- name: journal_hold (ids) -> instance_id
-- Keep ended instances from being removed. A lock on the row of one that goes on would hold up its commits.
select instance_id from romancy_instances where instance_id in (:ids) and status in (:closed) order by instance_id for update

-- name: journal_add (lines(instance_id, life, number, mark, at, body))
-- Write lines. A number that is taken is left out.
insert into romancy_journal (instance_id, life, number, mark, at, body)
select :instance_id, :life, :number, :mark, :at, :body from :source (select 1) one where true
on duplicate key update number = romancy_journal.number

-- name: journal_cut (cuts(instance_id, life, number), low)
-- Remove the oldest lines behind a number, up to another one.
delete j from :source romancy_journal j
where j.instance_id = :instance_id and j.life = :life and j.number > :low and j.number <= :number

-- name: stream_logs (ids) -> instance_id, life, last
-- How far the logs of instances are. MySQL takes the end of an index, and does not read all of it, if the order names all
-- of its columns.
select i.instance_id, i.life,
    (select l.seq from romancy_log l where l.instance_id = i.instance_id and l.life = i.life
     order by l.instance_id desc, l.life desc, l.seq desc limit 1) as last
from romancy_instances i
where i.instance_id in (:ids)

-- name: stream_lines (wanted, limit) -> instance_id, life, number, mark, at, body
-- The lines of some lives, each behind a number.
select instance_id, life, number, mark, at, body
from romancy_journal
where :wanted
order by instance_id, life, number
limit :limit
