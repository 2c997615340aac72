-- What is stored beside the logs, and how it is made again.

-- name: lives_with_rows
-- The next instances that have a log, by id: one probe of the log each. Of an id without a row, the life written last.
with recursive ids (id, n) as (
    select min(instance_id), 1 from romancy_log where instance_id > :after
    union all
    select (select min(instance_id) from romancy_log where instance_id > ids.id), ids.n + 1
    from ids
    where ids.id is not null and ids.n < :limit
)
select
    {instance i}, i.projection, i.index_paths,
    exists (
        select 1 from romancy_index_sets as s where s.workflow_name = i.workflow_name and s.paths = i.index_paths
    ),
    ids.id,
    case
        when i.instance_id is null
            then (select life from romancy_log where instance_id = ids.id order by at desc, seq desc limit 1)
    end
from ids left join romancy_instances as i on i.instance_id = ids.id
where ids.id is not null
order by ids.id;

-- name: index_of
-- The index rows of some instances.
select x.instance_id, x.path, x.value, x.created_at
from json_each(?) as named
cross join romancy_index as x on x.instance_id = named.value;

-- name: restore_instance
-- A row that was lost, if it has not come back and nothing was written to its log meanwhile.
insert into romancy_instances (
    instance_id, life, status, created_at, updated_at, wake_at, error, parent, run_from, last_seq, signals, seen, input,
    {given}
)
select
    :instance_id, :life, :status, :created_at, :updated_at, :wake_at, :error, :parent, :run_from, :last_seq,
    mail.counted, case when :ended then mail.counted else 0 end, :input, {given :}
from (
    select coalesce(max(number), 0) as counted from romancy_inbox where instance_id = :instance_id
) as mail
where
    exists (select 1 from romancy_log where instance_id = :instance_id and life = :life and seq = :last_seq)
    and not exists (select 1 from romancy_log where instance_id = :instance_id and life = :life and seq > :last_seq)
on conflict do nothing;

-- name: same_run
-- Whether an instance is still of this life and in this run.
select 1 from romancy_instances where instance_id = ? and life = ? and run_from = ?;
