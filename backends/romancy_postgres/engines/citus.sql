-- The scripts that are written in another way for Citus, under the names and with the meaning of the others.
--
-- Citus says of an INSERT from a SELECT how many rows were selected, also where a conflict left them out. It counts right
-- if rows are returned.

-- name: append_one
-- A lone step, as everywhere.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select $2::text, $3::bigint, $4::bigint, $5::text, $6::bytea, romancy_now()
where exists (select from romancy_workers where token = $1 and not dead)
  and ($7::text is null or (select p.writer from romancy_log p
                            where p.instance_id = $2 and p.life = $3 and p.seq = $4 - 1) = $7)
on conflict do nothing
returning seq;

-- name: append_many
-- A batch of steps, as everywhere.
insert into romancy_log (instance_id, life, seq, writer, body, at)
select t.instance_id, t.life, t.seq, t.writer, t.body, romancy_now()
from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::text[])
     as t (instance_id, life, seq, writer, body, after)
where exists (select from romancy_workers where token = $1 and not dead)
  and (t.after is null or (select p.writer from romancy_log p
                           where p.instance_id = t.instance_id and p.life = t.life and p.seq = t.seq - 1) = t.after)
on conflict do nothing
returning seq;

-- name: lane_due (addresses) -> address, key
-- All of these lanes. A statement with tables would try the locks on the node that has them, and a dispatch locks on the
-- coordinator.
select address, hashtextextended(address collate "C", to_regclass('romancy_messages')::oid::bigint)
from unnest($1::text[]) as t (address);

-- name: place_in_citus
-- 0: the server is the coordinator. And how soon it settles the commits that a crash has left prepared.
select groupid, current_setting('citus.recover_2pc_interval') from pg_dist_local_group;

-- name: lock_timeouts
-- How long each node waits for a locked row, if the tables of the schema $1 lie on one.
select nodeport, result
from run_command_on_workers('show lock_timeout')
where exists (select from pg_dist_schema where schemaid = to_regnamespace($1::text));
