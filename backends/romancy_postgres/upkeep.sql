-- Upkeep of the tables: the schema's versions, pruning, notifications.

-- name: server
-- The version and the settings of the server, its extensions with their versions, and what of the wanted settings this
-- connection has.
select current_setting('server_version_num')::integer, current_setting('server_version'),
       current_setting('server_encoding'), current_setting('fsync'),
       array(select array[extname::text, extversion] from pg_extension),
       array(select name from pg_settings s join unnest($1::text[], $2::text[]) as w (name, wanted) using (name)
             where s.setting = w.wanted);

-- name: standing
-- Of which database this is a copy or the original, whether it is a standby, how many bytes of the log it has, and how
-- old the last transaction is that a standby has.
select (select system_identifier from pg_control_system()) || '.' ||
       (select oid from pg_database where datname = current_database()),
       pg_is_in_recovery(),
       (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end
        - '0/0'::pg_lsn)::bigint,
       date_part('epoch', clock_timestamp() - pg_last_xact_replay_timestamp());

-- name: place
-- Equal on two connections if and only if they see the same tables.
select current_database()::text, pg_postmaster_start_time(), to_regclass('romancy_instances')::oid;

-- name: server_settings
-- Settings that cost durability or speed, as they are for this connection.
select name, setting from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'transaction_read_only',
               'default_transaction_isolation', 'max_connections');

-- name: schema_table
-- The record of the migrations applied to this schema. Older programs may continue on those that are additive.
create table if not exists romancy_schema (
    version    integer primary key,
    name       text   not null default '',
    applied_at bigint not null,
    additive   boolean not null default false
);

-- name: schema_applied
-- The migrations applied. The table of a version before the first release may lack `additive`.
select version, name, coalesce((to_jsonb(applied) ->> 'additive')::boolean, false) from romancy_schema applied;

-- name: schema_record
-- Record a migration.
insert into romancy_schema (version, name, additive, applied_at) values ($1, $2, $3, romancy_now());

-- name: prune_named (statuses, ids, limit, until) -> instance_id
-- Lock those of these instances that have ended, and remove their interests: a dispatch to them locks these until it
-- has committed. The status is tested as an expression: otherwise the index of ended instances would seem useful while
-- the server has no statistics of the rows.
with doomed as materialized (
    select instance_id from romancy_instances
    where status = any ($1::text[]) and status || '' in ('completed', 'failed', 'cancelled')
        and instance_id = any ($2::text[])
        and updated_at <= $4
    limit $3
    for update skip locked
), quiet as (
    delete from romancy_interests i using doomed where i.owner = doomed.instance_id and i.life <> 0
)
select instance_id from doomed;

-- name: prune_old (statuses, before, limit) -> instance_id
-- The same with instances that ended before $2.
with doomed as materialized (
    select instance_id from romancy_instances
    where status = any ($1::text[]) and status in ('completed', 'failed', 'cancelled') and updated_at < $2
    order by updated_at
    limit $3
    for update skip locked
), quiet as (
    delete from romancy_interests i using doomed where i.owner = doomed.instance_id and i.life <> 0
)
select instance_id from doomed;

-- name: hold_former
-- The same with the ended life that a new one replaces, if it has one of these statuses.
with doomed as materialized (
    select instance_id from romancy_instances
    where instance_id = $1 and life = $2 and status = any ($3::text[])
        and status in ('completed', 'failed', 'cancelled')
    for update
), quiet as (
    delete from romancy_interests i using doomed where i.owner = doomed.instance_id and i.life <> 0
)
select instance_id from doomed;

-- name: prune_chosen (ids)
-- Remove locked instances with all data under their ids, and give back what they took and never consumed. This begins
-- after their interests have gone, so it sees everything that was dispatched to them.
with log as (
    delete from romancy_log where instance_id = any ($1::text[])
), journal as (
    delete from romancy_journal where instance_id = any ($1)
), inbox as (
    delete from romancy_inbox where instance_id = any ($1)
    returning delivery_id, address, spread, coalesce(posted_at, at) as at, body, projection, interest
), back as (
    insert into romancy_messages (at, message_id, address, spread, body, projection)
    select at, delivery_id, address, spread, body, projection
    from inbox
    where interest is not null
    order by delivery_id collate "C", address collate "C"
    on conflict do nothing
), forgotten as (
    delete from romancy_seen where unit = any ($1) and life <> 0
), indexed as (
    delete from romancy_index where instance_id = any ($1)
)
delete from romancy_instances where instance_id = any ($1);

-- name: prune_runs (limit, streams, late)
-- Remove the rows of finished runs, of some instances at a time, and what these runs have written to streams. The newest
-- row of a stream stays: the next one is numbered behind it.
with rerun as materialized (
    select instance_id, life, run_from from romancy_instances
    where kept_from < run_from
    limit $1
    for no key update skip locked
), written as materialized (
    select r.instance_id, r.life, l.at,
           (select max(j.number) from romancy_journal j
            where j.instance_id = r.instance_id and j.life = r.life) as newest
    from rerun r
    join romancy_log l on l.instance_id = r.instance_id and l.life = r.life and l.seq = r.run_from
), streams as (
    delete from romancy_journal j using written w
    where j.instance_id = w.instance_id and j.life = w.life and j.number > $2 and j.number < w.newest
        and j.at < w.at - $3
), dropped as (
    delete from romancy_log l using rerun
    where l.instance_id = rerun.instance_id and l.life = rerun.life and l.seq < rerun.run_from
)
update romancy_instances i set kept_from = rerun.run_from
from rerun where i.instance_id = rerun.instance_id;

-- name: prune_workers ()
-- Remove dead workers that own nothing. They are kept for an hour: a start of theirs may be under way whose check of its
-- owner came before the death.
with clock as materialized (
    select romancy_now() as now
)
delete from romancy_workers w
where w.dead and w.beat_at < (select now from clock) - 3600000000
    and (select true from romancy_instances where owner = w.token limit 1) is null;

-- name: prune_seen (before, limit)
-- Remove dedupe keys accepted before $1, up to a limit.
delete from romancy_seen
where ctid = any (array(select ctid from romancy_seen where at < $1 limit $2 for update skip locked));

-- name: notify
-- Notify all listeners. Never inside another transaction. A transaction that notifies has an entry in the server's log,
-- and would wait for the disk before it is heard; a wake-up that a crash of the server loses is no loss.
select set_config('synchronous_commit', 'off', true), pg_notify($1, payload) from unnest($2::text[]) as t (payload);

-- name: lives_with_rows (after, limit) -> id, {instance}, projection, index_paths, members, paths, words, times,
-- lost_life
-- The next instances that have a log, by id: one probe of the log each. Of an id without a row, the life written last.
with recursive ids (id, n) as (
    select (select instance_id from romancy_log where instance_id > $1 order by instance_id limit 1), 1
    union all
    select (select instance_id from romancy_log where instance_id > ids.id order by instance_id limit 1), ids.n + 1
    from ids
    where ids.id is not null and ids.n < $2::int
)
select ids.id, {instance i}, i.projection::text as projection, i.index_paths,
       (select s.members from romancy_index_sets s
        where s.workflow_name = i.workflow_name and s.paths = i.index_paths) as members,
       x.paths, x.words, x.times,
       case when i.instance_id is null
            then (select l.life from romancy_log l where l.instance_id = ids.id order by l.at desc, l.seq desc limit 1)
            end as lost_life
from ids
left join romancy_instances i on i.instance_id = ids.id
left join lateral (
    select array_agg(e.path) as paths, array_agg(e.value) as words, array_agg(e.created_at) as times
    from romancy_index e
    where e.instance_id = ids.id
) x on true
where ids.id is not null
order by ids.id;

-- name: log_of_life (instance_id, life, after, limit) -> seq, writer, body, at
-- Some rows of the log of a life, which may have no instance.
select seq, writer, body, at from romancy_log
where instance_id = $1 and life = $2 and seq > $3
order by seq
limit $4;

-- name: hold_runs (runs(instance_id, life, run_from)) -> instance_id
-- Those of these instances that are still of this life and in this run, locked.
select i.instance_id
from romancy_instances i
where (i.instance_id, i.life, i.run_from) in (select * from unnest($1::text[], $2::bigint[], $3::bigint[]))
order by i.instance_id
for no key update;

-- name: restore_instances (lost(instance_id, life, status, created_at, updated_at, error, parent, run_from, last_seq,
-- input, ended, due, mail, {given})) -> instance_id
-- Rows that were lost, if they have not come back and nothing was written to their logs meanwhile.
with lost as materialized (
    select *
    from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[], $7::text[],
                $8::bigint[], $9::bigint[], $10::bytea[], $11::boolean[], $12::bigint[], $13::bigint[], {given $14})
         as t (instance_id, life, status, created_at, updated_at, error, parent, run_from, last_seq, input, ended, due,
               mail, {given})
), clock as materialized (
    select romancy_now() as now
)
insert into romancy_instances
    (instance_id, life, {given}, status, created_at, updated_at, error, parent, run_from, last_seq, input,
     index_paths, wake_at, signals, seen)
select t.instance_id, t.life, {given}, t.status, t.created_at, t.updated_at, t.error, t.parent,
       t.run_from, t.last_seq, t.input, '',
       case when not t.ended and t.due >= 0 then greatest(clock.now, t.due) end,
       mail.counted + t.mail, case when t.ended then mail.counted + t.mail else 0 end
from lost t
cross join clock
cross join lateral (
    select coalesce(max(m.number), 0) as counted
    from romancy_inbox m
    where m.instance_id = t.instance_id and m.number < 9223372036854775807
) mail
where exists (select from romancy_log l where l.instance_id = t.instance_id and l.life = t.life and l.seq = t.last_seq)
  and not exists (select from romancy_log l
                  where l.instance_id = t.instance_id and l.life = t.life and l.seq > t.last_seq)
order by t.instance_id collate "C"
on conflict (instance_id) do nothing
returning instance_id;

-- name: log_add (lines(instance_id, life, seq, writer, body, at))
-- Write rows of logs. One that is there stays.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select instance_id, life, seq, writer, body, at
from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bigint[])
    as t (instance_id, life, seq, writer, body, at)
on conflict do nothing;

-- name: mail_add (lines(instance_id, delivery_id, body, at, number, address, interest, spread, projection, posted_at))
-- Put messages into inboxes, as counted ones. One that is there stays.
insert into romancy_inbox
    (instance_id, delivery_id, body, at, counted, number, address, interest, spread, projection, posted_at)
select instance_id, delivery_id, body, at, true, number, address, interest, spread, projection, posted_at
from unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[],
            $9::bytea[], $10::bigint[])
    as t (instance_id, delivery_id, body, at, number, address, interest, spread, projection, posted_at)
on conflict do nothing;
