-- What user code has logged about instances.

-- name: journal_ends (ids) -> instance_id, life, first, last
-- The numbers of the first and the last line of instances; 0: there is none.
select i.instance_id, i.life,
    coalesce((
        select min(j.number) from romancy_journal j where j.instance_id = i.instance_id and j.life = i.life
    ), 0) as first_number,
    coalesce((
        select max(j.number) from romancy_journal j where j.instance_id = i.instance_id and j.life = i.life
    ), 0) as last_number
from romancy_instances i
where i.instance_id {among :ids};

-- name: journal_known (ids, marks) -> mark
-- Which of these lines are there.
select mark from romancy_journal where instance_id {among :ids} and mark {among :marks};

-- name: journal_behind (instance_id, life, after, limit) -> life, number, mark, at, body
-- The lines behind a place. All are behind a place of another life.
select j.life, j.number, j.mark, j.at, j.body
from romancy_instances i
join romancy_journal j on j.instance_id = i.instance_id and j.life = i.life
where i.instance_id = :instance_id and (j.number > :after or j.life <> :life)
order by j.number
limit :limit;

-- name: journal_newest (instance_id, limit) -> life, number, mark, at, body
-- The newest lines, from the last one backwards.
select j.life, j.number, j.mark, j.at, j.body
from romancy_instances i
join romancy_journal j on j.instance_id = i.instance_id and j.life = i.life
where i.instance_id = :instance_id
order by j.number desc
limit :limit;
