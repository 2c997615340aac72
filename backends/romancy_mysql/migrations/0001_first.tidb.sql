-- One line per event, for people: where instance_id = 'order-42' uses the key. TiDB has no JSON_TABLE, so the view counts,
-- up to 1000 events of a commit. Its conditions are no guards there: JSON functions get a valid text in any case. A body
-- that is no array of JSON, because a codec wrote it, is one line without an event.
-- not additive: a part of the first schema.
create or replace view romancy_events as
select v.instance_id, v.life, v.seq, n.position,
    json_unquote(json_extract(v.body, concat('$[', n.position - 1, '].type'))) as type,
    nullif(json_extract(v.body, concat('$[', n.position - 1, ']')), cast('null' as json)) as event,
    v.writer, v.at
from (
    select l.instance_id, l.life, l.seq, l.writer, l.at, case
        when left(l.body, 1) <> '[' or locate(0x00, l.body) > 0 then '[null]'
        when json_valid(convert(l.body using utf8mb4)) then convert(l.body using utf8mb4)
        else '[null]'
    end as body
    from romancy_log l
) v
join (
    select 1 + a.d + 10 * b.d + 100 * c.d as position
    from (select 0 as d union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 union all select 6 union all select 7 union all select 8 union all select 9) a
    join (select 0 as d union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 union all select 6 union all select 7 union all select 8 union all select 9) b
    join (select 0 as d union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 union all select 6 union all select 7 union all select 8 union all select 9) c
) n on n.position <= json_length(v.body);
