-- What user code has logged about instances, and what their streams hold.

-- name: journal_add (lines(instance_id, life, number, mark, at, body))
-- Write lines. A number that is taken is left out.
insert into romancy_journal (instance_id, life, number, mark, at, body)
select
    json_extract(value, '$[0]'),
    json_extract(value, '$[1]'),
    json_extract(value, '$[2]'),
    json_extract(value, '$[3]'),
    json_extract(value, '$[4]'),
    substr(:packed, json_extract(value, '$[5][0]'), json_extract(value, '$[5][1]'))
from json_each(:lines)
where true
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

-- name: streams_behind (places(instance_id, life, number), limit) -> instance_id, life, last, number,
-- mark, at, body
-- What the streams of some lives hold, each behind a number, and how far the logs of their instances are.
select i.instance_id, i.life,
    (select max(l.seq) from romancy_log as l where l.instance_id = i.instance_id and l.life = i.life) as last,
    line.number, line.mark, line.at, line.body
from json_each(:places) as place
cross join romancy_instances as i on i.instance_id = json_extract(place.value, '$[0]')
left join romancy_journal as line
    on line.instance_id = i.instance_id
    and line.life = i.life
    and line.life = json_extract(place.value, '$[1]')
    and line.number > json_extract(place.value, '$[2]')
order by i.instance_id, line.number
limit :limit;
