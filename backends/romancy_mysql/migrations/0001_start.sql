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
    started_at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    beat_at bigint not null
) engine = InnoDB row_format = dynamic;

-- wake_at is not null only while owner is null: "unowned and due at that time". touched_at moves when
-- an instance may be due, gets mail or ends: what those who wait should hear of. Only here, where nobody is notified, is
-- such a column needed.
create table if not exists romancy_instances (
    instance_id varbinary(255) not null primary key,
    life bigint not null,
    workflow_name varbinary(255) not null,
    status varbinary(16) not null,
    code varbinary(1024) not null,
    owner varbinary(255) null,
    wake_at bigint null,
    signals bigint not null default 0,
    seen bigint not null default 0,
    created_at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    updated_at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
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
    key claim (workflow_name, wake_at),
    key owned (owner),
    key runs (run_from),
    key by_status (status, created_at, instance_id),
    key by_age (created_at, instance_id),
    key by_name (workflow_name, created_at, instance_id),
    key by_paths (index_paths, created_at, instance_id),
    key touched (touched_at)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_log (
    instance_id varbinary(255) not null,
    life bigint not null,
    seq bigint not null,
    writer varbinary(255) not null,
    body mediumblob not null,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    primary key (instance_id, life, seq)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_inbox (
    instance_id varbinary(255) not null,
    delivery_id varbinary(255) not null,
    body mediumblob not null,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    primary key (instance_id, delivery_id)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_outbox (
    outbox_id varbinary(255) not null primary key,
    topic varbinary(1024) not null,
    body mediumblob not null,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)))
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_seen (
    dedupe varbinary(255) not null primary key,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    key by_age (at)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_index (
    path varbinary(255) not null,
    value varbinary(255) not null,
    created_at bigint not null,
    instance_id varbinary(255) not null,
    primary key (path, value, created_at, instance_id),
    key of_instance (instance_id)
) engine = InnoDB row_format = dynamic;

create table if not exists romancy_index_sets (
    index_paths varbinary(255) not null primary key,
    paths mediumblob not null
) engine = InnoDB row_format = dynamic;
