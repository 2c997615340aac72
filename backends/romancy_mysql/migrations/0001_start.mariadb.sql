-- One line per event, for people: where instance_id = 'order-42' uses the key. MariaDB's JSON functions stop at 32 levels.
-- A commit with a deeper event is not valid JSON to them; its events are cut out by a recursive regular expression:
-- each object of the outer array becomes a 0, which leaves an array to count, and the n-th is then matched behind n - 1.
-- not additive: a part of the first schema.
create or replace view romancy_events as
select
    l.instance_id,
    l.life,
    l.seq,
    e.position,
    if(json_valid(convert(l.body using utf8mb4)), e.type, json_value(regexp_substr(
        convert(l.body using utf8mb4),
        concat('^\\[\\s*+(?:(\\{(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(\\[(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(?2))*+\\]))*+\\})\\s*+,\\s*+){', e.position - 1, '}\\K(?1)')
    ), '$.type')) as type,
    if(json_valid(convert(l.body using utf8mb4)), e.event, regexp_substr(
        convert(l.body using utf8mb4),
        concat('^\\[\\s*+(?:(\\{(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(\\[(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(?2))*+\\]))*+\\})\\s*+,\\s*+){', e.position - 1, '}\\K(?1)')
    )) as event,
    l.writer,
    l.at
from romancy_log l
join json_table(
    if(
        json_valid(convert(l.body using utf8mb4)),
        convert(l.body using utf8mb4),
        regexp_replace(convert(l.body using utf8mb4), '(\\{(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(\\[(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(?2))*+\\]))*+\\})', '0')
    ),
    '$[*]' columns (position for ordinality, type varchar(255) path '$.type', event json path '$')
) e;
