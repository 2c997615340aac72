-- The counter of its instance once a message is counted, so that a claim need not bring again what a worker keeps. What
-- was there before, and what an older worker puts there, has the largest number: it is always brought.
-- not additive: older code counts mail and numbers none of it.

alter table romancy_inbox add column number bigint not null default 9223372036854775807;

create index romancy_inbox_number on romancy_inbox (instance_id, number);
