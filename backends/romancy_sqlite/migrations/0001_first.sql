-- The first schema. Times are microseconds since the epoch, UTC; bodies are kept as the bytes that were given.
-- Text compares byte for byte: BINARY is SQLite's default collation.
-- not additive: older code has no tables at all.

create table romancy_workers (
    token         text    not null primary key,
    worker_id     text    not null,
    lease         integer not null,
    beat          integer not null,
    dead          integer not null default 0,
    codes         text    not null,             -- JSON array
    boot_id       text    not null,
    pid_namespace text    not null,
    pid           integer not null,
    pid_start     integer not null,
    started_at    integer not null,
    beat_at       integer not null
) without rowid;

-- wake_at is not null only while owner is null: "nobody's, and due at that time". fair_line is not empty until the first
-- claim of an instance that waits for it in the line of a fair key.
create table romancy_instances (
    instance_id   text    not null primary key,
    life          integer not null,
    workflow_name text    not null,
    status        text    not null,
    code          text    not null,
    priority      integer not null default 0,
    fair_line     text    not null default '',
    owner         text,
    wake_at       integer,
    signals       integer not null default 0,
    seen          integer not null default 0,
    created_at    integer not null,
    updated_at    integer not null,
    run_from      integer not null default 1,
    last_seq      integer not null default 1,
    crashes       integer not null default 0,
    crash_seq     integer not null default 0,
    refused       text    not null default '[]', -- JSON array of the code versions that cannot follow the log
    error         text,
    parent        text,
    kept_from     integer not null default 1,    -- rows of the log before this are of former runs, and pruned
    index_paths   text    not null default '',   -- the declared paths of romancy_index, sorted, one per line
    input         blob    not null,
    projection    text
);

create index romancy_instances_due on romancy_instances (priority, workflow_name, wake_at)
    where wake_at is not null and fair_line = '';
create index romancy_instances_fair on romancy_instances (priority, workflow_name, fair_line, wake_at)
    where wake_at is not null and fair_line <> '';
create index romancy_instances_owner on romancy_instances (owner) where owner is not null;
create index romancy_instances_mail on romancy_instances (owner) where signals <> seen;
create index romancy_instances_status on romancy_instances (status, created_at desc, instance_id desc);
create index romancy_instances_newest on romancy_instances (created_at desc, instance_id desc);
create index romancy_instances_workflow on romancy_instances (workflow_name, created_at desc, instance_id desc);
create index romancy_instances_paths on romancy_instances (index_paths, created_at desc, instance_id desc);
create index romancy_instances_ended on romancy_instances (updated_at)
    where status in ('completed', 'failed', 'cancelled');
create index romancy_instances_continued on romancy_instances (instance_id) where kept_from < run_from;
create index romancy_instances_parent on romancy_instances (parent, created_at desc, instance_id desc)
    where parent is not null;  -- most instances have no parent

-- The primary key is the fence. Clustered by it: one page is written for a plain step, one range read for a replay.
create table romancy_log (
    instance_id text    not null,
    life        integer not null,
    seq         integer not null,
    writer      text    not null,
    body        blob    not null,
    at          integer not null,
    primary key (instance_id, life, seq)
) without rowid;

-- `number` is the counter of the instance once the message is counted, so that a claim need not bring again what a worker
-- keeps. A row without one has the largest: it is always brought. The columns behind it are of messages that came from an
-- address, and of those that were taken there: all that is needed to give them back.
create table romancy_inbox (
    instance_id text    not null,
    delivery_id text    not null,
    at          integer not null,
    number      integer not null default 9223372036854775807,
    address     text,
    interest    text,
    spread      text,
    posted_at   integer,  -- of a message that was kept before its taker asked for it; `at` is then when it was taken
    body        blob    not null,
    projection  text,
    primary key (instance_id, delivery_id)
) without rowid;

create index romancy_inbox_number on romancy_inbox (instance_id, number);
create index romancy_inbox_taken on romancy_inbox (instance_id) where interest is not null;

-- While a message is pending, next_at is when it is due or when its claim ends; null: after others with its key.
create table romancy_outbox (
    outbox_id   text    not null primary key,
    instance_id text,
    order_key   text,
    state       text    not null default 'pending',
    attempts    integer not null default 0,
    at          integer not null,
    queued_at   integer not null default 0,
    next_at     integer default 0,
    ended_at    integer,
    claim       text,
    topic       text    not null,
    error       text,
    body        blob    not null
) without rowid;

create index romancy_outbox_due on romancy_outbox (next_at, at, outbox_id)
    where state = 'pending' and next_at is not null;
create index romancy_outbox_order on romancy_outbox (order_key, at, outbox_id)
    where state = 'pending' and order_key is not null;
create index romancy_outbox_ended on romancy_outbox (state, ended_at) where state <> 'pending';

-- The ids of messages, remembered where they were sent: by the life of an instance or, with a life of 0, at an address.
create table romancy_seen (
    unit   text    not null,
    life   integer not null,
    dedupe text    not null,
    at     integer not null,
    primary key (unit, life, dedupe)
) without rowid;

create index romancy_seen_at on romancy_seen (at);

-- What user code has logged about instances, where an app keeps it. The numbers of an instance count up.
create table romancy_journal (
    instance_id text    not null,
    life        integer not null,
    number      integer not null,
    mark        text    not null,
    at          integer not null,
    body        blob    not null,
    primary key (instance_id, life, number)
) without rowid;

-- One row for each declared path of an instance that leads to a value. The index finds instances by it, in the order of
-- searches.
create table romancy_index (
    instance_id text    not null,
    path        text    not null,
    value       text    not null,
    created_at  integer not null,
    primary key (instance_id, path, value)
) without rowid;

create index romancy_index_value on romancy_index (path, value, created_at desc, instance_id desc);

-- Which sets of declared paths the instances of each workflow have had: a search that names a workflow looks at no others.
create table romancy_index_sets (
    workflow_name text not null,
    paths         text not null,
    primary key (workflow_name, paths)
) without rowid;

-- Messages that are posted to addresses, until they are dispatched.
create table romancy_messages (
    address    text    not null,
    message_id text    not null,
    spread     text    not null,  -- one, every, channel
    at         integer not null,  -- when it was posted; a message that is given back keeps it
    compared   integer not null default 0,  -- 1: with every interest whose compared_to is not before `at`, in vain
    body       blob    not null,
    projection text,
    primary key (address, message_id)
) without rowid;

-- Bodies are never read to find out who gets them.
create index romancy_messages_order on romancy_messages (address, compared, at, message_id, spread);
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
    compared_to integer not null default -1,  -- see romancy_messages
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

-- What has ended goes after a while, also of apps that say nothing of it: in databases that were made with this row.
insert into romancy_interests (owner, life, interest_id, address, kind, at)
values ('romancy/retention', 0, 'by default', 't/retention', 'member', 0);

-- One line per event, for people. A body that is no array of JSON, because a codec wrote it, is one line without an event.
-- JSON holds no NUL, and behind one nothing would be looked at.
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
