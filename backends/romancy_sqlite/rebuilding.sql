-- What is stored beside the logs, and how it is made again.

-- name: some_lives (after, limit) -> instance_id
-- The next ids that have a log: one probe each.
with recursive ids (id, n) as (
    select min(instance_id), 1 from romancy_log where instance_id > :after
    union all
    select (select min(instance_id) from romancy_log where instance_id > ids.id), ids.n + 1
    from ids
    where ids.id is not null and ids.n < :limit
)
select id from ids where id is not null order by id;

-- name: some_rows (ids) -> {instance}, projection, index_paths, members
-- What is stored of some instances beside their logs.
select {instance i}, i.projection, i.index_paths, s.paths
from json_each(:ids) as named
cross join romancy_instances as i on i.instance_id = named.value
left join romancy_index_sets as s on s.workflow_name = i.workflow_name and s.paths = i.index_paths;

-- name: some_index (ids) -> instance_id, path, value, created_at
-- Their rows of the index.
select x.instance_id, x.path, x.value, x.created_at
from json_each(:ids) as named
cross join romancy_index as x on x.instance_id = named.value;

-- name: last_lives (ids) -> life, instance_id
-- Their lives whose logs were written last.
select
    (select life from romancy_log where instance_id = named.value order by at desc, seq desc limit 1),
    named.value
from json_each(:ids) as named;

-- name: hold_runs (runs(instance_id, life, run_from)) -> instance_id
-- Those of these instances that are still of this life and in this run.
select i.instance_id
from json_each(:runs) as run
cross join romancy_instances as i on i.instance_id = json_extract(run.value, '$[0]')
where i.life = json_extract(run.value, '$[1]') and i.run_from = json_extract(run.value, '$[2]');

-- name: restore_instance (instance_id, life, status, created_at, updated_at, error, parent, run_from, last_seq, input,
-- ended, due, mail, {given})
-- A row that was lost, if it has not come back and nothing was written to its log meanwhile.
insert into romancy_instances (
    instance_id, life, status, created_at, updated_at, wake_at, error, parent, run_from, last_seq, signals, seen, input,
    {given}
)
select
    :instance_id, :life, :status, :created_at, :updated_at,
    case when not :ended and :due >= 0 then max(:now, :due) end, :error, :parent, :run_from, :last_seq,
    mail.counted, case when :ended then mail.counted else 0 end, :input, {given :}
from (
    select coalesce(max(number), 0) + :mail as counted from romancy_inbox where instance_id = :instance_id
) as mail
where
    exists (select 1 from romancy_log where instance_id = :instance_id and life = :life and seq = :last_seq)
    and not exists (select 1 from romancy_log where instance_id = :instance_id and life = :life and seq > :last_seq)
on conflict do nothing;

-- name: log_add (lines(instance_id, life, seq, writer, body, at))
-- Write rows of logs. Those that are there stay.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select
    json_extract(value, '$[0]'),
    json_extract(value, '$[1]'),
    json_extract(value, '$[2]'),
    json_extract(value, '$[3]'),
    substr(:packed, json_extract(value, '$[4][0]'), json_extract(value, '$[4][1]')),
    json_extract(value, '$[5]')
from json_each(:lines)
where true
on conflict do nothing;

-- name: mail_add (lines(instance_id, delivery_id, body, at, number, address, interest, spread, projection, posted_at))
-- Put messages into inboxes. Those that are there stay. A projection is text.
insert into romancy_inbox (
    instance_id, delivery_id, body, at, number, address, interest, spread, projection, posted_at
)
select
    json_extract(value, '$[0]'),
    json_extract(value, '$[1]'),
    substr(:packed, json_extract(value, '$[2][0]'), json_extract(value, '$[2][1]')),
    json_extract(value, '$[3]'),
    json_extract(value, '$[4]'),
    json_extract(value, '$[5]'),
    json_extract(value, '$[6]'),
    json_extract(value, '$[7]'),
    cast(substr(:packed, json_extract(value, '$[8][0]'), json_extract(value, '$[8][1]')) as text),
    json_extract(value, '$[9]')
from json_each(:lines)
where true
on conflict do nothing;

-- name: renew_projections (renewed(instance_id, projection, index_paths))
-- What searches read of instances.
update romancy_instances set projection = t.projection, index_paths = t.index_paths
from (
    select
        json_extract(value, '$[0]') as instance_id,
        json_extract(value, '$[1]') as projection,
        json_extract(value, '$[2]') as index_paths
    from json_each(:renewed)
) as t
where romancy_instances.instance_id = t.instance_id;

-- name: add_index_sets (rows)
-- Record sets of declared paths that workflows' instances have.
insert into romancy_index_sets (workflow_name, paths)
select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(:rows) where true
on conflict do nothing;

-- name: add_index (index(instance_id, path, value))
-- Index rows, with the creation time of the instance.
insert into romancy_index (path, value, created_at, instance_id)
select json_extract(x.value, '$[1]'), json_extract(x.value, '$[2]'), i.created_at, i.instance_id
from json_each(:index) as x
cross join romancy_instances as i on i.instance_id = json_extract(x.value, '$[0]');
