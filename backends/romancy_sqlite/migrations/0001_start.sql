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

-- wake_at is not null only while owner is null: "nobody's, and due at that time".
create table romancy_instances (
    instance_id   text    not null primary key,
    life          integer not null,
    workflow_name text    not null,
    status        text    not null,
    code          text    not null,
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

create index romancy_instances_due on romancy_instances (workflow_name, wake_at) where wake_at is not null;
create index romancy_instances_owner on romancy_instances (owner) where owner is not null;
create index romancy_instances_mail on romancy_instances (owner) where signals <> seen;
create index romancy_instances_status on romancy_instances (status, created_at desc, instance_id desc);
create index romancy_instances_newest on romancy_instances (created_at desc, instance_id desc);
create index romancy_instances_workflow on romancy_instances (workflow_name, created_at desc, instance_id desc);
create index romancy_instances_paths on romancy_instances (index_paths, created_at desc, instance_id desc);
create index romancy_instances_ended on romancy_instances (updated_at)
    where status in ('completed', 'failed', 'cancelled');
create index romancy_instances_continued on romancy_instances (instance_id) where kept_from < run_from;

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

create table romancy_inbox (
    instance_id text    not null,
    delivery_id text    not null,
    body        blob    not null,
    at          integer not null,
    primary key (instance_id, delivery_id)
) without rowid;

create table romancy_outbox (
    outbox_id text    not null primary key,
    topic     text    not null,
    body      blob    not null,
    at        integer not null
) without rowid;

create table romancy_seen (
    dedupe text    not null primary key,
    at     integer not null
) without rowid;

create index romancy_seen_at on romancy_seen (at);

create table romancy_index (
    path        text    not null,
    value       text    not null,
    created_at  integer not null,
    instance_id text    not null,
    primary key (path, value, created_at desc, instance_id desc)
) without rowid;

create index romancy_index_instance on romancy_index (instance_id);

create table romancy_index_sets (
    paths text not null primary key
) without rowid;

insert into romancy_index_sets (paths) values ('');  -- most workflows declare none

-- One line per event, for people. A body that a codec has made unreadable shows no events.
create view romancy_events as
select
    log.instance_id,
    log.life,
    log.seq,
    event.key + 1 as position,
    json_extract(event.value, '$.type') as type,
    event.value as event,
    log.writer,
    log.at
from romancy_log as log
join json_each(
    case when json_valid(cast(log.body as text)) then cast(log.body as text) else '[]' end
) as event;
