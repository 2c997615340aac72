-- A body that is no array of JSON, because a codec wrote it, is one line of the view without an event. Before this it
-- had none, or its inside was taken for events. JSON holds no NUL, and behind one nothing would be looked at.
-- additive: only a view, which no code reads.

drop view romancy_events;

create view romancy_events as
select
    log.instance_id,
    log.life,
    log.seq,
    event.key + 1 as position,
    case when event.type = 'object' then json_extract(event.value, '$.type') end as type,
    event.value as event,
    log.writer,
    log.at
from romancy_log as log
join json_each(
    case
        when instr(log.body, x'00') > 0 or not json_valid(cast(log.body as text)) then '[null]'
        when json_type(cast(log.body as text)) = 'array' then cast(log.body as text)
        else '[null]'
    end
) as event;
