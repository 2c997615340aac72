-- A body that is no array of JSON, because a codec wrote it, is one line of the view without an event. Before this it
-- was an error that hid the lines of all others.
-- additive: only a view and its function, which no code reads.

create function romancy_events_of(body bytea) returns json language plpgsql stable as $$
declare
    events json;
begin
    events := convert_from(body, 'UTF8')::json;
    -- An escape that is no character is found here, not where a line is shown.
    perform replace(events::text, '\u0000', '\ufffd')::json #>> '{}';
    return case json_typeof(events) when 'array' then events end;
exception
    when others then
        return null;
end
$$;

create or replace view romancy_events as
select l.instance_id, l.life, l.seq, e.position,
       replace(e.event::text, '\u0000', '\ufffd')::json ->> 'type' as type,
       e.event::text as event, l.writer, l.at
from romancy_log l
cross join lateral (select romancy_events_of(l.body) as events offset 0) readable
cross join lateral json_array_elements(coalesce(readable.events, '[null]')) with ordinality as one (event, position)
cross join lateral (select case when readable.events is not null then one.event end as event, one.position) e;
