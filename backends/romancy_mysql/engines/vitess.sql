-- The scripts that Vitess refuses, or accepts with another meaning, in words that it knows; the rules of queries.sql hold
-- here too. The gate makes a level of isolation for the next transaction one for all that follow. So the usual one is
-- set again, and a connection that has another one is not used again (`_connection.py`).

-- name: see_uncommitted ()
-- Let the next statements see uncommitted rows.
set session transaction isolation level read uncommitted

-- name: see_committed ()
-- Let the next statements see committed rows, as usual.
set session transaction isolation level read committed

-- name: one_moment ()
-- Let the next statements, up to "commit", all see the same snapshot.
set session transaction isolation level repeatable read

-- name: end_moment ()
-- End the transaction. Nothing was written. One answer more follows.
commit; set session transaction isolation level read committed

-- name: drop_former_runs (runs(instance_id, life, run_from))
-- Remove their rows before the current run. A tablet lets a statement on one table change 10,000 rows at most.
delete l from :source romancy_log l join (select 1 as one) here
where l.instance_id = :instance_id and l.life = :life and l.seq < :run_from

-- name: journal_cut (cuts(instance_id, life, number), low)
-- Remove the oldest lines behind a number, up to another one. The same limit.
delete j from :source romancy_journal j join (select 1 as one) here
where j.instance_id = :instance_id and j.life = :life and j.number > :low and j.number <= :number

-- name: judge_interest (owner, life, address, other, copies) -> finding
-- The state that a new interest finds, while its address is locked: see routing.sql. A variable cannot hold it: the gate
-- evaluates it.
select case
    when :life <> 0 and not exists (
        select 1 from romancy_instances n where n.instance_id = :owner and n.life = :life and n.status not in (:closed)
    ) then _binary'gone'
    when k.excluding > 0 then :other
    when k.copies = 0 and :copies then _binary'first'
    else _binary'free'
end
from (
    select cast(coalesce(sum(i.kind = :other), 0) as signed) as excluding,
        cast(coalesce(sum(i.kind = _binary'copy'), 0) as signed) as copies
    from romancy_interests i force index (by_address)
    left join romancy_instances n on n.instance_id = i.owner and n.life = i.life and n.status not in (:closed)
    where i.address = :address and (i.life = 0 or n.instance_id is not null)
) k

-- name: interest_put (owner, life, interest_id, address, kind, where_)
-- Write the interest. It is not excluded.
insert into romancy_interests (owner, life, interest_id, address, kind, where_, at)
select v.owner, v.life, v.interest_id, v.address, v.kind, v.where_,
    timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
from (
    select :owner as owner, :life as life, :interest_id as interest_id, :address as address, :kind as kind,
        :where_ as where_
) v
on duplicate key update
    at = if(romancy_interests.address = v.address and romancy_interests.kind = v.kind, romancy_interests.at,
            timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    compared_to = if(romancy_interests.address = v.address and romancy_interests.kind = v.kind
            and romancy_interests.where_ <=> v.where_, romancy_interests.compared_to, -1),
    address = v.address, kind = v.kind, where_ = v.where_, swept = 0

-- name: discard_messages (messages(address, message_id))
-- Remove messages that were kept before the first interest in copies.
delete m from :source romancy_messages m
where m.address = :address and m.message_id = :message_id
