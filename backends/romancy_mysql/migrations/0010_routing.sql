-- Messages that are addressed to whoever is interested. An address has up to 640 bytes, so every key stays below the 3072
-- bytes of an index. `swept` is 0 or less until a sweep has looked at a row: what a crash left is found without reading
-- the rest. `at` of a message is when it was posted, and a message that is given back keeps it.
-- not additive: older code ends instances and leaves their interests, and what they took, behind.

create table if not exists romancy_messages (
    address varbinary(640) not null,
    message_id varbinary(255) not null,
    spread varbinary(16) not null,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    body mediumblob not null,
    projection mediumblob null,
    swept bigint not null default 0,
    primary key (address, message_id),
    key by_age (address, spread, at, message_id),
    key by_id (message_id),
    key by_sweep (swept, at)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_interests (
    owner varbinary(255) not null,
    life bigint not null,
    interest_id varbinary(255) not null,
    address varbinary(640) not null,
    kind varbinary(16) not null,
    where_ mediumblob null,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    swept bigint not null default 0,
    primary key (owner, life, interest_id),
    key by_address (address, at),
    key by_sweep (swept)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_addresses (
    address varbinary(640) not null primary key,
    number bigint not null default 0
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_letters (
    subscriber varbinary(255) not null,
    letter_id varbinary(255) not null,
    address varbinary(640) not null,
    body mediumblob not null,
    at bigint not null,
    message_id varbinary(255) null,
    spread varbinary(16) null,
    posted_at bigint null,
    projection mediumblob null,
    primary key (subscriber, letter_id)
) engine = InnoDB row_format = dynamic;

-- What came from an address. `interest` marks what was taken. The other columns are there to give it back with.
alter table romancy_inbox
    add column address varbinary(640) null,
    add column interest varbinary(255) null,
    add column spread varbinary(16) null,
    add column projection mediumblob null,
    add key by_interest (interest);
