-- What relays need to know of a message: the order of its key, its state, its attempts, and who has claimed it until
-- when. While it is pending, next_at is when it is due or when its claim ends; null: after others with its key.
-- not additive: older code sends what a relay has claimed, and what has ended.

alter table romancy_outbox
    add column order_key varbinary(255),
    add column instance_id varbinary(255),
    add column state varbinary(16) not null default 'pending',
    add column attempts int not null default 0,
    add column queued_at bigint not null default 0,
    add column next_at bigint default 0,
    add column claim varbinary(255),
    add column error blob,
    add column ended_at bigint,
    add key due (state, next_at, at),
    add key by_order (order_key, state, at, outbox_id),
    add key by_end (state, ended_at);
