-- Messages that a session wrote and that the counter of their instance does not cover yet: what a sweep has to look at,
-- where it read the whole inbox before. What was uncounted until now is not told from what nobody waits for; each gets
-- counted once more, which costs its instance a look.
-- not additive: a session of older code does not record what is still to be counted.

create table if not exists romancy_uncounted (
    instance_id varbinary(255) not null,
    delivery_id varbinary(255) not null,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    primary key (instance_id, delivery_id)
) engine = InnoDB row_format = dynamic;

insert into romancy_uncounted (instance_id, delivery_id, at)
select x.instance_id, x.delivery_id, x.at
from romancy_inbox x
join romancy_instances i on i.instance_id = x.instance_id
where i.signals = i.seen or (i.owner is null and i.wake_at is null)
on duplicate key update at = romancy_uncounted.at;
