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
    instance_id   text collate "C" primary key,
    workflow_name text collate "C" not null,
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

create index romancy_instances_due on romancy_instances (workflow_name, wake_at) where wake_at is not null;
create index romancy_instances_owner on romancy_instances (owner) where owner is not null;
create index romancy_instances_mail on romancy_instances (owner) where signals <> seen;
create index romancy_instances_new on romancy_instances (created_at desc, instance_id desc);
create index romancy_instances_status on romancy_instances (status, created_at desc, instance_id desc);
create index romancy_instances_name on romancy_instances (workflow_name, created_at desc, instance_id desc);
create index romancy_instances_paths on romancy_instances (index_paths, created_at desc, instance_id desc);
create index romancy_instances_ended on romancy_instances (updated_at)
    where status in ('completed', 'failed', 'cancelled');
create index romancy_instances_rerun on romancy_instances (instance_id) where kept_from < run_from;

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
create table romancy_inbox (
    at          bigint  not null,
    counted     boolean not null,
    instance_id text collate "C" not null,
    delivery_id text collate "C" not null,
    body        bytea not null,
    primary key (instance_id, delivery_id)
);
create index romancy_inbox_uncounted on romancy_inbox (at) where not counted;

create table romancy_outbox (
    at        bigint not null,
    outbox_id text collate "C" primary key,
    topic     text not null,
    body      bytea not null
);

create table romancy_seen (
    at     bigint not null,
    dedupe text collate "C" primary key
);
create index romancy_seen_at on romancy_seen (at);

-- One row for each declared path of an instance that leads to a value; path is the path's key.
create table romancy_index (
    created_at  bigint not null,
    path        text collate "C" not null,
    value       text collate "C" not null,
    instance_id text collate "C" not null
);
create index romancy_index_value on romancy_index (path, value, created_at desc, instance_id desc);
create index romancy_index_instance on romancy_index (instance_id);

-- Every set of declared paths ever used: what a search by index would miss is in the sets without its path.
-- paths is the set's name in the instances: the paths, or a hash of them if they are too long.
create table romancy_index_sets (
    paths   text collate "C" primary key,
    members text[] collate "C" not null
);

-- One line per event, for people. The escape of NUL is hidden from ->>, which could not show it.
create view romancy_events as
select l.instance_id, l.life, l.seq, e.position,
       replace(e.event::text, '\u0000', '\ufffd')::json ->> 'type' as type,
       e.event::text as event, l.writer, l.at
from romancy_log l
cross join lateral json_array_elements(convert_from(l.body, 'UTF8')::json) with ordinality as e (event, position);
