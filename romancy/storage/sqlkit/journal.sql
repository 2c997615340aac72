-- What user code has logged about instances, and what their streams hold. Each has a range of numbers.

-- name: journal_ends (ids, low, high) -> instance_id, life, owner, first, last, size, mark,
-- status, updated_at
-- The numbers of the first and the last line of instances in a range, and the size and the mark of the last; 0: there
-- is none. MySQL takes the end of an index, and does not read all of it, if the order names all of its columns.
select i.instance_id, i.life, i.owner,
    coalesce((
        select j.number from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between :low and :high
        order by j.instance_id, j.life, j.number
        limit 1
    ), 0) as first_number,
    coalesce((
        select j.number from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between :low and :high
        order by j.instance_id desc, j.life desc, j.number desc
        limit 1
    ), 0) as last_number,
    coalesce((
        select length(j.body) from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between :low and :high
        order by j.instance_id desc, j.life desc, j.number desc
        limit 1
    ), 0) as last_size,
    (
        select j.mark from romancy_journal j
        where j.instance_id = i.instance_id and j.life = i.life and j.number between :low and :high
        order by j.instance_id desc, j.life desc, j.number desc
        limit 1
    ) as last_mark,
    i.status, i.updated_at
from romancy_instances i
where i.instance_id {among :ids};

-- name: journal_known (ids, marks) -> mark
-- Which of these lines are there.
select mark from romancy_journal where instance_id {among :ids} and mark {among :marks};

-- name: journal_behind (instance_id, life, after, high, limit) -> life, number, mark, at, body
-- The lines behind a place. All are behind a place of another life.
select j.life, j.number, j.mark, j.at, j.body
from romancy_instances i
join romancy_journal j on j.instance_id = i.instance_id and j.life = i.life
where i.instance_id = :instance_id and (j.number > :after or j.life <> :life) and j.number <= :high
order by j.number
limit :limit;

-- name: journal_newest (instance_id, high, limit) -> life, number, mark, at, body
-- The newest lines, from the last one backwards.
select j.life, j.number, j.mark, j.at, j.body
from romancy_instances i
join romancy_journal j on j.instance_id = i.instance_id and j.life = i.life
where i.instance_id = :instance_id and j.number <= :high
order by j.number desc
limit :limit;

-- name: stream_behind (instance_id, life, after, limit) -> life, number, mark, at, body
-- What the streams of a life hold behind a number.
select life, number, mark, at, body
from romancy_journal
where instance_id = :instance_id and life = :life and number > :after
order by number
limit :limit;
