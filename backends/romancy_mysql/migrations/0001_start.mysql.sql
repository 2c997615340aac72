-- One line per event, for people: where instance_id = 'order-42' uses the key. An event nested deeper than 100 levels is
-- more than MySQL's JSON functions take; asking for its instance is an error then.
-- not additive: a part of the first schema.
create or replace view romancy_events as
select l.instance_id, l.life, l.seq, e.position, e.type, e.event, l.writer, l.at
from romancy_log l
join json_table(
    convert(l.body using utf8mb4),
    '$[*]' columns (position for ordinality, type varchar(255) path '$.type', event json path '$')
) e;
