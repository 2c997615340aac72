-- Messages that are posted to addresses, who is interested in them, and the mail of subscribers outside.
-- not additive: older code ends instances and leaves their interests, and what they took, behind.

create table romancy_messages (
    address    text    not null,
    message_id text    not null,
    spread     text    not null,  -- one, every, channel
    at         integer not null,  -- when it was posted; a message that is given back keeps it
    body       blob    not null,
    projection text,
    primary key (address, message_id)
) without rowid;

-- Bodies are never read to find out who gets them.
create index romancy_messages_order on romancy_messages (address, at, message_id, spread);
create index romancy_messages_every on romancy_messages (address) where spread = 'every';

-- A life of 0 is a subscriber outside, and not an instance.
create table romancy_interests (
    owner       text    not null,
    life        integer not null,
    interest_id text    not null,
    address     text    not null,
    kind        text    not null,  -- take, copy, member
    where_      blob,
    at          integer not null,
    primary key (owner, life, interest_id)
) without rowid;

create index romancy_interests_address on romancy_interests (address, at);

-- The number of the last copy from an address. A new row begins at the present time, so rows can be removed.
create table romancy_addresses (
    address text    not null primary key,
    number  integer not null
) without rowid;

-- The ids of letters begin with their time. The columns behind `at` are null for a copy.
create table romancy_letters (
    subscriber text    not null,
    letter_id  text    not null,
    address    text    not null,
    body       blob    not null,
    at         integer not null,
    message_id text,
    spread     text,
    posted_at  integer,
    projection text,
    primary key (subscriber, letter_id)
) without rowid;

-- Of what came from an address, and of what was taken there: all that is needed to give it back.
alter table romancy_inbox add column address text;
alter table romancy_inbox add column interest text;
alter table romancy_inbox add column spread text;
alter table romancy_inbox add column projection text;

create index romancy_inbox_taken on romancy_inbox (instance_id) where interest is not null;
