-- A body that is no array of JSON, because a codec wrote it, or that is deeper than MySQL's JSON functions take, is one
-- line without an event. Before this it was an error that hid the lines of all others.
-- additive: only a view, which no code reads.
create or replace view romancy_events as
select l.instance_id, l.life, l.seq, e.position, e.type, if(json_type(e.event) = 'NULL', null, e.event) as event,
       l.writer, l.at
from romancy_log l
join json_table(
    case
        when left(l.body, 1) <> '[' or locate(0x00, l.body) > 0 then '[null]'
        when json_valid(convert(l.body using utf8mb4)) then convert(l.body using utf8mb4)
        else '[null]'
    end,
    '$[*]' columns (position for ordinality, type varchar(255) path '$.type', event json path '$')
) e;
