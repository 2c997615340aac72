-- Messages for whoever is interested: what is kept at addresses, who is interested, and the mail of subscribers outside.
-- not additive: older code ends instances and leaves their interests, and what they took, behind.

create table romancy_messages (
    at         bigint not null,
    message_id text collate "C" not null,
    address    text collate "C" not null,
    spread     text collate "C" not null,
    body       bytea not null,
    projection bytea,
    primary key (message_id, address)
);
create index romancy_messages_place on romancy_messages (address, spread, at, message_id);
create index romancy_messages_at on romancy_messages (at);

-- life 0: the owner is a subscriber outside, and no instance.
create table romancy_interests (
    at          bigint not null,
    life        bigint not null,
    owner       text collate "C" not null,
    interest_id text collate "C" not null,
    address     text collate "C" not null,
    kind        text collate "C" not null,
    where_      bytea,
    primary key (owner, life, interest_id)
);
create index romancy_interests_place on romancy_interests (address, kind, at, owner, interest_id);
create index romancy_interests_choosy on romancy_interests (address) where kind = 'take' and where_ is not null;
create index romancy_interests_at on romancy_interests (at);

-- The number of the last copy from an address. A new row begins at the present time, so rows can be removed.
create table romancy_addresses (
    number  bigint not null,
    address text collate "C" primary key
) with (fillfactor = 70);

-- message_id, posted_at, spread and projection are those of a message that was taken; they are null for a copy.
create table romancy_letters (
    at         bigint not null,
    posted_at  bigint,
    subscriber text collate "C" not null,
    letter_id  text collate "C" not null,
    address    text collate "C" not null,
    message_id text collate "C",
    spread     text collate "C",
    body       bytea not null,
    projection bytea,
    primary key (subscriber, letter_id)
);
create index romancy_letters_order on romancy_letters (subscriber, at, letter_id);
create index romancy_letters_at on romancy_letters (at);

alter table romancy_inbox
    add column address    text collate "C",
    add column interest   text collate "C",
    add column spread     text collate "C",
    add column projection bytea;

create index romancy_inbox_taken on romancy_inbox (instance_id, delivery_id) where interest is not null;
