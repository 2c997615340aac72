-- A body that is no array of JSON, because a codec wrote it, is one line without an event. Before this it was an error
-- that hid the lines of all others. Such a body becomes an array of one null here; how deeper events than 32 levels are
-- cut out is said in 0001, and each of them became a 0.
-- additive: only a view, which no code reads.
create or replace view romancy_events as
select
    l.instance_id,
    l.life,
    l.seq,
    e.position,
    if(e.event = '0', json_value(regexp_substr(
        convert(l.body using utf8mb4),
        concat('^\\[\\s*+(?:(\\{(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(\\[(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(?2))*+\\]))*+\\})\\s*+,\\s*+){', e.position - 1, '}\\K(?1)')
    ), '$.type'), e.type) as type,
    case e.event when 'null' then null when '0' then regexp_substr(
        convert(l.body using utf8mb4),
        concat('^\\[\\s*+(?:(\\{(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(\\[(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(?2))*+\\]))*+\\})\\s*+,\\s*+){', e.position - 1, '}\\K(?1)')
    ) else e.event end as event,
    l.writer,
    l.at
from romancy_log l
join json_table(
    case
        when left(l.body, 1) <> '[' or locate(0x00, l.body) > 0 then '[null]'
        when json_valid(convert(l.body using utf8mb4)) then convert(l.body using utf8mb4)
        when json_valid(regexp_replace(convert(l.body using utf8mb4), '(\\{(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(\\[(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(?2))*+\\]))*+\\})', '0'))
            then regexp_replace(convert(l.body using utf8mb4), '(\\{(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(\\[(?:[^{}\\[\\]"]++|"(?:[^"\\\\]++|\\\\.)*+"|(?1)|(?2))*+\\]))*+\\})', '0')
        else '[null]'
    end,
    '$[*]' columns (position for ordinality, type varchar(255) path '$.type', event json path '$')
) e;
