-- The record of the migrations, and the lock under which they are made.

-- name: has_schema
-- Whether any migration was ever applied here, and whether the record of migrations tells which are additive.
select count(*), count(case column_name when 'additive' then 1 end)
from information_schema.columns where table_schema = :database and table_name = :table

-- name: any_table
-- The first of these tables that is there, or NULL.
select cast(min(table_name) as binary) from information_schema.tables
where table_schema = :database and table_name in (:tables)

-- name: create_schema
-- The record of the migrations' steps. Step 0 is recorded before the first one begins. It has the migration's name, and
-- says whether older programs may continue.
create table if not exists romancy_schema (
    version int not null,
    step int not null,
    at bigint not null,
    name varbinary(255) not null default '',
    additive tinyint not null default 0,
    primary key (version, step)
) engine = InnoDB

-- name: schema_steps
-- The steps taken so far.
select version, step, name, additive from romancy_schema where version > 0

-- name: former_schema_steps
-- The steps taken so far, in the table of a version before the first release.
select version, step from romancy_schema

-- name: record_migration
-- Record that a migration begins. It may have begun before.
insert into romancy_schema (version, step, name, additive, at)
values (:version, 0, :name, :additive, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)))
on duplicate key update version = romancy_schema.version

-- name: record_step
-- Record a step.
insert into romancy_schema (version, step, at)
values (:version, :step, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)))

-- name: patient_with_tables
-- Wait longer than usual for transactions that use a table to be changed.
set session lock_wait_timeout = :seconds

-- name: lock_schema
-- Let one process at a time migrate.
select get_lock(:name, :seconds)

-- name: claim_schema
-- In a cluster: claim the migrations, unless another process has. A stale claim is replaced.
insert into romancy_schema (version, step, name, at)
values (0, 0, :token, timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)))
on duplicate key update name = if(romancy_schema.name = :stale, :token, romancy_schema.name)

-- name: claimant_of_schema
-- In a cluster: who has claimed the migrations.
select name from romancy_schema where version = 0

-- name: leave_schema
-- In a cluster: let the next process migrate.
delete from romancy_schema where version = 0 and name = :token

-- name: unlock_schema
-- Let the next process migrate.
select release_lock(:name)
