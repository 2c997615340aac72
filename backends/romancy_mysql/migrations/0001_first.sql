-- The first schema. Ids are VARBINARY: they compare byte for byte, without padding, on every version of both servers.
-- Times are microseconds since the epoch, UTC, by the server's clock. MySQL and MariaDB end a transaction at every
-- statement here, so each can be run again after a crash: what is there already is left as it is.
-- not additive: older code has no tables at all.

create table if not exists romancy_workers (
    token varbinary(255) not null primary key,
    worker_id varbinary(1024) not null,
    lease bigint not null,
    beat bigint not null,
    dead tinyint not null default 0,
    codes mediumblob not null,
    boot_id varbinary(255) not null,
    pid_namespace varbinary(255) not null,
    pid bigint not null,
    pid_start bigint not null,
    started_at bigint not null,
    beat_at bigint not null
) engine = InnoDB row_format = dynamic;

-- wake_at is not null only while owner is null: "unowned and due at that time". touched_at moves when an instance may be
-- due, gets mail or ends: what those who wait should hear of. Only here, where nobody is notified, is such a column needed.
-- rung is the priority of what is due at some time, and a hundred more in the line of a fair key: its lowest and its highest
-- value are read from the ends of an index. fair_line is not empty until the first claim of an instance in such a line.
-- mail_for is the owner while there is mail that it has not been told of, which is what each claim asks for. Most instances
-- have the same value in claim, owned, mail and runs: not due, of nobody, in the first run. Among those the place is that
-- of the age, so that a claim or a start reads the page where the others of its hour are.
create table if not exists romancy_instances (
    instance_id varbinary(255) not null primary key,
    life bigint not null,
    workflow_name varbinary(255) not null,
    status varbinary(16) not null,
    code varbinary(1024) not null,
    priority smallint not null default 0,
    fair_line varbinary(255) not null default '',
    owner varbinary(255) null,
    wake_at bigint null,
    signals bigint not null default 0,
    seen bigint not null default 0,
    created_at bigint not null,
    updated_at bigint not null,
    touched_at bigint null,
    run_from bigint not null default 1,
    last_seq bigint not null default 1,
    crashes bigint not null default 0,
    crash_seq bigint not null default 0,
    refused mediumblob null,
    error longblob null,
    parent varbinary(255) null,
    input longblob not null,
    projection json null,
    index_paths varbinary(255) not null default '',
    mail_for varbinary(255) generated always as (case when signals <> seen then owner end) stored,
    rung smallint generated always as (
        case when wake_at is null then null when fair_line = '' then priority else priority + 100 end
    ) stored,
    key claim (rung, workflow_name, fair_line, wake_at, created_at),
    key owned (owner, created_at),
    key mail (mail_for, created_at),
    key runs (run_from, created_at),
    key by_status (status, created_at, instance_id),
    key by_age (created_at, instance_id),
    key by_name (workflow_name, created_at, instance_id),
    key by_paths (index_paths, created_at, instance_id),
    key by_parent (parent, created_at, instance_id),
    key touched (touched_at)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_log (
    instance_id varbinary(255) not null,
    life bigint not null,
    seq bigint not null,
    writer varbinary(255) not null,
    body mediumblob not null,
    at bigint not null,
    primary key (instance_id, life, seq)
) engine = InnoDB row_format = dynamic;

-- `number` is the counter of the instance once the message is counted, so that a claim need not bring again what a worker
-- keeps. A row without one has the largest: it is always brought. The columns from `address` on are of messages that came
-- from an address: `interest` marks what was taken there, and the others are there to give it back with. `posted_at` is set
-- if a message was kept before its taker asked for it, and `at` is then when it was taken.
create table if not exists romancy_inbox (
    instance_id varbinary(255) not null,
    delivery_id varbinary(255) not null,
    body mediumblob not null,
    at bigint not null,
    number bigint not null default 9223372036854775807,
    address varbinary(640) null,
    interest varbinary(255) null,
    spread varbinary(16) null,
    posted_at bigint null,
    projection mediumblob null,
    primary key (instance_id, delivery_id),
    key by_number (instance_id, number),
    key by_interest (interest)
) engine = InnoDB row_format = dynamic;

-- Messages that a session wrote and that the counter of their instance does not cover yet: what a sweep has to look at.
create table if not exists romancy_uncounted (
    instance_id varbinary(255) not null,
    delivery_id varbinary(255) not null,
    at bigint not null,
    primary key (instance_id, delivery_id)
) engine = InnoDB row_format = dynamic;

-- While a message is pending, next_at is when it is due or when its claim ends; null: after others with its key.
create table if not exists romancy_outbox (
    outbox_id varbinary(255) not null primary key,
    topic varbinary(1024) not null,
    body mediumblob not null,
    at bigint not null,
    order_key varbinary(255) null,
    instance_id varbinary(255) null,
    state varbinary(16) not null default 'pending',
    attempts int not null default 0,
    queued_at bigint not null default 0,
    next_at bigint null default 0,
    claim varbinary(255) null,
    error blob null,
    ended_at bigint null,
    key due (state, next_at, at),
    key by_order (order_key, state, at, outbox_id),
    key by_end (state, ended_at)
) engine = InnoDB row_format = dynamic;

-- The ids of messages, remembered where they were sent: by the life of an instance or, with a life of 0, at an address.
create table if not exists romancy_seen (
    unit varbinary(640) not null,
    life bigint not null,
    dedupe varbinary(255) not null,
    at bigint not null,
    primary key (unit, life, dedupe),
    key by_age (at)
) engine = InnoDB row_format = dynamic;

-- What user code has logged about instances, where an app keeps it. The numbers of an instance count up.
create table if not exists romancy_journal (
    instance_id varbinary(255) not null,
    life bigint not null,
    number bigint not null,
    mark varbinary(255) not null,
    at bigint not null,
    body mediumblob not null,
    primary key (instance_id, life, number)
) engine = InnoDB row_format = dynamic;

-- One row for each declared path of an instance that leads to a value. `by_value` finds instances by it, in the order of
-- searches.
create table if not exists romancy_index (
    instance_id varbinary(255) not null,
    path varbinary(255) not null,
    value varbinary(255) not null,
    created_at bigint not null,
    primary key (instance_id, path, value),
    key by_value (path, value, created_at, instance_id)
) engine = InnoDB row_format = dynamic;

-- The sets of declared paths by workflow: a search that names a workflow which has always declared its paths then looks
-- nowhere but into the index.
create table if not exists romancy_index_sets (
    workflow_name varbinary(255) not null,
    index_paths varbinary(255) not null,
    paths mediumblob not null,
    primary key (workflow_name, index_paths)
) engine = InnoDB row_format = dynamic;

-- Messages that are addressed to whoever is interested. An address has up to 640 bytes, so every key stays below the 3072
-- bytes of an index. `swept` is 0 or less until a sweep has looked at a row: what a crash left is found without reading
-- the rest. `at` of a message is when it was posted, and a message that is given back keeps it. A message that is
-- `compared` fits no interest at its address whose compared_to is not before `at`.
create table if not exists romancy_messages (
    address varbinary(640) not null,
    message_id varbinary(255) not null,
    spread varbinary(16) not null,
    at bigint not null,
    body mediumblob not null,
    projection mediumblob null,
    compared tinyint not null default 0,
    swept bigint not null default 0,
    primary key (address, message_id),
    key by_age (address, spread, compared, at, message_id),
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
    at bigint not null,
    compared_to bigint not null default -1,
    swept bigint not null default 0,
    primary key (owner, life, interest_id),
    key by_address (address, at),
    key by_sweep (swept)
) engine = InnoDB row_format = dynamic;

-- number: of the last copy from the address. marked_at: when a dispatch last marked messages or interests there, so that of
-- two dispatches at the same time only one does.
create table if not exists romancy_addresses (
    address varbinary(640) not null primary key,
    number bigint not null default 0,
    marked_at bigint not null default 0
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

-- What has ended goes after a while, also of apps that say nothing of it: in databases that were made with this row.
insert into romancy_interests (owner, life, interest_id, address, kind, at)
values ('romancy/retention', 0, 'by default', 't/retention', 'member', 0)
on duplicate key update kind = 'member';
