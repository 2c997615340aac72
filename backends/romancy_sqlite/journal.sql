-- What user code has logged about instances, and what their streams hold.

-- name: journal_line (instance_id, life, number, mark, at, body)
-- Write a line. A number that is taken is left out.
insert into romancy_journal (instance_id, life, number, mark, at, body)
values (:instance_id, :life, :number, :mark, :at, :body)
on conflict do nothing;

-- name: journal_cut (cuts(instance_id, life, number), low)
-- Remove the oldest lines behind a number, up to another one.
delete from romancy_journal
where (instance_id, life, number) in (
    select line.instance_id, line.life, line.number
    from json_each(:cuts) as cut
    cross join romancy_journal as line
        on line.instance_id = json_extract(cut.value, '$[0]')
        and line.life = json_extract(cut.value, '$[1]')
        and line.number > :low
        and line.number <= json_extract(cut.value, '$[2]')
);

-- name: streams_behind (places(instance_id, life, number), limit) -> instance_id, life, number, mark, at, body
-- What the streams of some lives hold, each behind a number.
select line.instance_id, line.life, line.number, line.mark, line.at, line.body
from json_each(:places) as place
cross join romancy_journal as line
    on line.instance_id = json_extract(place.value, '$[0]')
    and line.life = json_extract(place.value, '$[1]')
    and line.number > json_extract(place.value, '$[2]')
order by line.instance_id, line.number
limit :limit;
