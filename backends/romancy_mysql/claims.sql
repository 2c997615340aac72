-- Claims of instances, and what comes with them. The rules of queries.sql hold here too.

-- name: claim_due
-- Due instances of one workflow and priority, longest due first, without those that another transaction holds. With another index,
-- which old statistics may suggest, the query would lock every row it reads.
(select i.instance_id, i.wake_at, i.priority
from romancy_instances i force index (claim)
where i.rung = :rung and i.workflow_name = :workflow_name and i.fair_line = ''
    and i.wake_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
    and locate(:code, concat('\n', coalesce(i.refused, ''), '\n')) = 0
    and not (:leaves and i.code in (:leave) and i.wake_at > timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :grace)
order by i.wake_at
limit :limit
for update skip locked)

-- name: at_rung (rung) -> rung
-- Whether anything waits at a rung: of a priority or, a hundred higher, in the lines of fair keys.
select i.rung from romancy_instances i force index (claim) where i.rung = :rung limit 1

-- name: turn_of (rung, workflow_name, code, leaves, leave, grace, low, below,
-- limit) -> workflow_name, fair_line, instance_id, wake_at
-- Of one workflow, the first due instances at a rung of some lines, in the order of the lines.
select w.workflow_name, w.fair_line, w.instance_id, w.wake_at
from romancy_instances w force index (claim)
where w.rung = :rung and w.workflow_name = :workflow_name and w.fair_line >= :low and w.fair_line < :below
    and w.wake_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
    and locate(:code, concat('\n', coalesce(w.refused, ''), '\n')) = 0
    and not (:leaves and w.code in (:leave) and w.wake_at > timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) - :grace)
order by w.fair_line, w.wake_at
limit :limit

-- name: claim_chosen
-- Those of these instances that are due still, without those that another transaction holds.
select i.instance_id, i.wake_at, i.priority
from romancy_instances i force index (primary)
where i.instance_id in (:ids) and i.wake_at <= timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))
for update skip locked

-- name: claim_owned
-- The instances that the worker already owns, because an earlier answer may have been lost. Not locked: otherwise a row
-- that another transaction holds for a moment would be left out and never asked for again.
(select i.instance_id, 0 as wake_at from romancy_instances i force index (owned) where i.owner = :worker)

-- name: take_claimed
-- Make the instances the worker's, if it is alive.
update romancy_instances i
set i.owner = :worker, i.wake_at = null, i.fair_line = ''
where i.instance_id in (:ids)
    and exists (select 1 from romancy_workers w where w.token = :worker and w.dead = 0)

-- name: read_claimed
-- The columns of claimed instances, beginning with the columns on mail of `read_mailboxes`. Without the hint, MySQL with old
-- statistics reads the whole log for each.
select i.instance_id, i.life, i.signals,
    (select cast(coalesce(sum(octet_length(x.body) + 1), 0) as signed) from romancy_inbox x where x.instance_id = i.instance_id),
    i.workflow_name, i.status, i.code, i.run_from,
    greatest(i.last_seq, coalesce((
        select l.seq from romancy_log l where l.instance_id = i.instance_id and l.life = i.life
        order by l.instance_id desc, l.life desc, l.seq desc limit 1
    ), 0)),
    i.seen, i.crashes, i.crash_seq,
    (select if(l.seq < i.last_seq, null, l.writer) from romancy_log l force index (primary)
     where l.instance_id = i.instance_id and l.life = i.life
     order by l.instance_id desc, l.life desc, l.seq desc limit 1)
from romancy_instances i
where i.instance_id in (:ids)

-- name: read_short_logs
-- The logs of the instances' current runs with few commits. Longer logs are left out.
select l.instance_id, l.body
from romancy_instances i
straight_join romancy_log l on l.instance_id = i.instance_id and l.life = i.life and l.seq >= i.run_from
where i.instance_id in (:ids)
    and octet_length(l.body) <= :bytes
    and (
        select h.seq from romancy_log h where h.instance_id = i.instance_id and h.life = i.life
        order by h.instance_id desc, h.life desc, h.seq desc limit 1
    ) < i.run_from + :commits
order by l.instance_id, l.seq

-- name: read_mail (wanted) -> instance_id, delivery_id, body, at, address, interest, posted_at
-- The messages in some inboxes, each from behind a number. `read_mailboxes` has read their counters before.
select instance_id, delivery_id, body, at, address, interest, posted_at
from romancy_inbox
where :wanted
order by instance_id, delivery_id

-- name: read_mailboxes
-- The counters and sizes of the mail of the worker's instances that have news, without what it keeps if the counter has
-- not gone back behind that, and of those whose mail it does not know.
(select i.instance_id, i.life, i.signals,
       (select cast(coalesce(sum(octet_length(x.body) + 1), 0) as signed) from romancy_inbox x
        where x.instance_id = i.instance_id and x.number > (case i.instance_id :kept else 0 end))
from romancy_instances i force index (mail)
where i.mail_for = :worker)
union all
(select i.instance_id, i.life, i.signals,
       (select cast(coalesce(sum(octet_length(x.body) + 1), 0) as signed) from romancy_inbox x
        where x.instance_id = i.instance_id)
from romancy_instances i force index (primary)
where i.instance_id in (:ids) and i.owner = :worker and i.signals = i.seen)

-- name: kept_mail
-- A branch of the CASE of `read_mailboxes`: the number up to which the worker keeps the mail of one instance, or none if
-- the counter has gone back behind that.
when :instance_id then if(:number > i.signals, 0, :number)

-- name: read_now
-- The server's time.
select timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))

-- name: next_due
-- When the next instance of one workflow and priority is due, NULL if none ever is. Joined by "union all" for several.
-- MySQL reads a minimum that is the first entry of an index while it optimizes the query, and executes nothing. Twenty
-- blocks take the server 0.4 ms, ordered and limited ones 1.0; one query for all names reads whole indexes.
(select :workflow_name, :rung, min(i.wake_at)
from romancy_instances i force index (claim)
where i.rung = :rung and i.workflow_name = :workflow_name and i.fair_line = '')

-- name: rungs
-- The lowest and the highest rung that something waits at, as a further row of `next_due`.
(select '', min(i.rung), max(i.rung) from romancy_instances i force index (claim))

-- name: look_alive
-- Whether the worker is alive.
select 1 from romancy_workers where token = :worker and dead = 0
