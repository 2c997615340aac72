-- What relays need to know of a message: the order of its key, its state, its attempts, and who has claimed it until
-- when. While it is pending, next_at is when it is due or when its claim ends; null: after others with its key.
-- not additive: older code sends what a relay has claimed, and what has ended.

alter table romancy_outbox add column order_key text;
alter table romancy_outbox add column instance_id text;
alter table romancy_outbox add column state text not null default 'pending';
alter table romancy_outbox add column attempts integer not null default 0;
alter table romancy_outbox add column queued_at integer not null default 0;
alter table romancy_outbox add column next_at integer default 0;
alter table romancy_outbox add column claim text;
alter table romancy_outbox add column error text;
alter table romancy_outbox add column ended_at integer;

create index romancy_outbox_due on romancy_outbox (next_at, at, outbox_id)
where state = 'pending' and next_at is not null;

create index romancy_outbox_order on romancy_outbox (order_key, at, outbox_id)
where state = 'pending' and order_key is not null;

create index romancy_outbox_ended on romancy_outbox (state, ended_at) where state <> 'pending';
