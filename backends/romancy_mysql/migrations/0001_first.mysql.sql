-- One line per event, for people: where instance_id = 'order-42' uses the key. A body that is no array of JSON, because
-- a codec wrote it, or that is deeper than the 100 levels of MySQL's JSON functions, is one line without an event.
-- not additive: a part of the first schema.
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
