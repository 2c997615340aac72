-- The tables of the first version. Ids are compared byte for byte (collate "C"), bodies are bytes, times are
-- microseconds since the epoch by this server's clock.
-- not additive: older code has no tables at all.

create function romancy_now() returns bigint language sql volatile as
$$ select (extract(epoch from clock_timestamp()) * 1000000)::bigint $$;

create table romancy_workers (
    token         text collate "C" primary key,
    beat          bigint  not null,
    beat_at       bigint  not null,
    started_at    bigint  not null,
    lease         bigint  not null,
    dead          boolean not null,
    worker_id     text    not null,
    codes         text[] collate "C" not null,
    boot_id       text    not null,
    pid_namespace text    not null,
    pid           bigint  not null,
    pid_start     bigint  not null
) with (fillfactor = 50);

-- wake_at is set only while owner is null: "nobody's, and due at that time". kept_from: the log has no older rows.
-- fair_line is not empty until the first claim of an instance that waits for it in the line of a fair key.
create table romancy_instances (
    life          bigint not null,
    created_at    bigint not null,
    updated_at    bigint not null,
    wake_at       bigint,
    signals       bigint not null default 0,
    seen          bigint not null default 0,
    run_from      bigint not null default 1,
    kept_from     bigint not null default 1,
    last_seq      bigint not null default 1,
    crash_seq     bigint not null default 0,
    crashes       integer not null default 0,
    priority      smallint not null default 0,
    instance_id   text collate "C" primary key,
    workflow_name text collate "C" not null,
    fair_line     text collate "C" not null default '',
    status        text collate "C" not null,
    code          text collate "C" not null,
    owner         text collate "C",
    parent        text collate "C",
    refused       text[] collate "C" not null default '{}',
    index_paths   text collate "C" not null,
    error         bytea,
    input         bytea not null,
    projection    jsonb
);

create index romancy_instances_due on romancy_instances (priority, workflow_name, wake_at)
    where wake_at is not null and fair_line = '';
create index romancy_instances_fair on romancy_instances (priority, workflow_name, fair_line, wake_at)
    where wake_at is not null and fair_line <> '';
create index romancy_instances_owner on romancy_instances (owner) where owner is not null;
create index romancy_instances_mail on romancy_instances (owner) where signals <> seen;
create index romancy_instances_new on romancy_instances (created_at desc, instance_id desc);
create index romancy_instances_status on romancy_instances (status, created_at desc, instance_id desc);
create index romancy_instances_name on romancy_instances (workflow_name, created_at desc, instance_id desc);
create index romancy_instances_paths on romancy_instances (index_paths, created_at desc, instance_id desc);
create index romancy_instances_ended on romancy_instances (updated_at)
    where status in ('completed', 'failed', 'cancelled');
create index romancy_instances_rerun on romancy_instances (instance_id) where kept_from < run_from;
create index romancy_instances_parent on romancy_instances (parent, created_at desc, instance_id desc)
    where parent is not null;  -- most instances have no parent

-- The primary key is the fence: an append is accepted where its place is free.
create table romancy_log (
    life        bigint not null,
    seq         bigint not null,
    at          bigint not null,
    instance_id text collate "C" not null,
    writer      text collate "C" not null,
    body        bytea not null,
    primary key (instance_id, life, seq)
);

-- counted: the instance's counter covers this row. Sessions insert rows that are counted only after their commit.
-- number: that counter, so that a claim need not bring again what a worker keeps. A row without one has the largest: it
-- is always brought. The columns from `address` on are of messages that came from an address, and of those that were taken
-- there: all that is needed to give them back. So is posted_at: it is set if a message was kept before its taker asked for
-- it, and `at` is then when it was taken.
create table romancy_inbox (
    at          bigint  not null,
    number      bigint  not null default 9223372036854775807,
    posted_at   bigint,
    counted     boolean not null,
    instance_id text collate "C" not null,
    delivery_id text collate "C" not null,
    body        bytea not null,
    address     text collate "C",
    interest    text collate "C",
    spread      text collate "C",
    projection  bytea,
    primary key (instance_id, delivery_id)
);
create index romancy_inbox_uncounted on romancy_inbox (at) where not counted;
create index romancy_inbox_number on romancy_inbox (instance_id, number);
create index romancy_inbox_taken on romancy_inbox (instance_id, delivery_id) where interest is not null;

-- While a message is pending, next_at is when it is due or when its claim ends; null: after others with its key.
create table romancy_outbox (
    at          bigint not null,
    queued_at   bigint not null default 0,
    next_at     bigint default 0,
    ended_at    bigint,
    attempts    integer not null default 0,
    outbox_id   text collate "C" primary key,
    instance_id text collate "C",
    order_key   text collate "C",
    state       text collate "C" not null default 'pending',
    claim       text collate "C",
    topic       text not null,
    body        bytea not null,
    error       text
);
create index romancy_outbox_due on romancy_outbox (next_at, at, outbox_id)
    where state = 'pending' and next_at is not null;
create index romancy_outbox_order on romancy_outbox (order_key, at, outbox_id)
    where state = 'pending' and order_key is not null;
create index romancy_outbox_ended on romancy_outbox (state, ended_at) where state <> 'pending';

-- The ids of messages, remembered where they were sent: by the life of an instance or, with a life of 0, at an address.
create table romancy_seen (
    at     bigint not null,
    life   bigint not null,
    unit   text collate "C" not null,
    dedupe text collate "C" not null,
    primary key (unit, life, dedupe)
);
create index romancy_seen_at on romancy_seen (at);

-- What user code has logged about instances, where an app keeps it. The numbers of an instance count up.
create table romancy_journal (
    life        bigint not null,
    number      bigint not null,
    at          bigint not null,
    instance_id text collate "C" not null,
    mark        text collate "C" not null,
    body        bytea not null,
    primary key (instance_id, life, number)
);

-- One row for each declared path of an instance that leads to a value; path is the path's key. The index finds instances by
-- it, in the order of searches.
create table romancy_index (
    created_at  bigint not null,
    instance_id text collate "C" not null,
    path        text collate "C" not null,
    value       text collate "C" not null,
    primary key (instance_id, path, value)
);
create index romancy_index_value on romancy_index (path, value, created_at desc, instance_id desc);

-- Every set of declared paths that the instances of a workflow ever had: what a search by index would miss is in the sets
-- without its path. paths is the set's name in the instances: the paths, or a hash of them if they are too long.
create table romancy_index_sets (
    workflow_name text collate "C",
    paths         text collate "C",
    members       text[] collate "C" not null,
    primary key (workflow_name, paths)
);

-- Messages for whoever is interested, until they are dispatched. A message that is `compared` fits no interest at its
-- address whose compared_to is not before `at`.
create table romancy_messages (
    at         bigint not null,
    compared   boolean not null default false,
    message_id text collate "C" not null,
    address    text collate "C" not null,
    spread     text collate "C" not null,
    body       bytea not null,
    projection bytea,
    primary key (message_id, address)
);
create index romancy_messages_place on romancy_messages (address, spread, compared, at, message_id);
create index romancy_messages_at on romancy_messages (at);

-- life 0: the owner is a subscriber outside, and no instance.
create table romancy_interests (
    at          bigint not null,
    compared_to bigint not null default -1,
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

-- What has ended goes after a while, also of apps that say nothing of it: in databases that were made with this row.
insert into romancy_interests (owner, life, interest_id, address, kind, at)
values ('romancy/retention', 0, 'by default', 't/retention', 'member', 0);

-- One line per event, for people. A body that is no array of JSON, because a codec wrote it, is one line without an event.
-- The escape of NUL is hidden from ->>, which could not show it.
create function romancy_events_of(body bytea) returns json language plpgsql stable as $$
declare
    events json;
begin
    events := convert_from(body, 'UTF8')::json;
    -- An escape that is no character is found here, not where a line is shown.
    perform replace(events::text, '\u0000', '\ufffd')::json #>> '{}';
    return case json_typeof(events) when 'array' then events end;
exception
    when others then
        return null;
end
$$;

create view romancy_events as
select l.instance_id, l.life, l.seq, e.position,
       replace(e.event::text, '\u0000', '\ufffd')::json ->> 'type' as type,
       e.event::text as event, l.writer, l.at
from romancy_log l
cross join lateral (select romancy_events_of(l.body) as events offset 0) readable
cross join lateral json_array_elements(coalesce(readable.events, '[null]')) with ordinality as one (event, position)
cross join lateral (select case when readable.events is not null then one.event end as event, one.position) e;
