-- Claims, the mail that comes with them, the repairs of a sweep, heartbeats and takeovers.
--
-- The rules of queries.sql hold here too: rows are locked in the order of their ids, and rows that others have locked
-- are skipped.

-- name: sweep_mail
-- Count messages that a session posted at least five seconds ago and that have not been counted.
with clock as materialized (
    select romancy_now() as now
), posted as materialized (
    select instance_id, delivery_id from romancy_inbox
    where not counted and at < (select now from clock) - 5000000
      and exists (select from romancy_workers where token = $1 and not dead)
    order by at limit 1000
), held as materialized (
    select posted.instance_id, posted.delivery_id, x.signals
    from (select * from posted order by instance_id offset 0) posted
    cross join lateral (
        select i.signals from romancy_instances i
        where i.instance_id = posted.instance_id
        for no key update skip locked
    ) x
), marked as (
    update romancy_inbox m set counted = true, number = held.signals + 1
    from held
    where m.instance_id = held.instance_id and m.delivery_id = held.delivery_id and not m.counted
    returning m.instance_id
)
update romancy_instances i
set signals = i.signals + new.mail,
    wake_at = case when i.owner is null and i.status not in ('completed', 'failed', 'cancelled', 'stuck', 'paused')
                   then least(i.wake_at, (select now from clock)) else i.wake_at end
from (select instance_id, count(*) as mail from marked group by instance_id) new
where i.instance_id = new.instance_id
returning i.instance_id;

-- name: sweep_asleep
-- Wake instances with unseen mail and nothing to wake them, stranded ones (not at rest by their status, and without an
-- owner), and stuck ones that the code of this request may fit.
with clock as materialized (
    select romancy_now() as now
), asleep as materialized (
    select instance_id from romancy_instances
    where owner is null and signals <> seen and wake_at is null
      and status not in ('completed', 'failed', 'cancelled', 'stuck', 'paused')
    limit 1000
    for no key update skip locked
), stranded as materialized (
    select instance_id from romancy_instances
    where status in ('running', 'cancelling', 'compensating') and owner is null and wake_at is null
    limit 1000
    for no key update skip locked
), parked as materialized (
    select i.instance_id
    from romancy_instances i
    where i.status = 'stuck' and i.owner is null and i.wake_at is null
      and (select true from unnest($2::text[], $3::text[]) as known (name, code)
           where known.name = i.workflow_name and known.code <> all (i.refused) limit 1)
    limit 1000
    for no key update skip locked
)
update romancy_instances i
set wake_at = (select now from clock)
where i.instance_id in (
        select instance_id from asleep
        union all select instance_id from stranded
        union all select instance_id from parked
    )
  and exists (select from romancy_workers where token = $1 and not dead)
returning i.instance_id;

-- name: claim
-- Take ownership of due instances, by their ranks: each priority that something waits with is read by itself, as
-- each workflow is, and of one priority the longest due goes first. $7 also asks for everything already owned. The
-- first columns are the same in every row, and come also without a claim: the time, whether the worker is alive,
-- whether owned instances have unseen mail, when the next instance becomes due, of which only the first eight of each
-- workflow and priority are looked at, and whether any start waits in the line of a fair key: then nothing is taken
-- (`claim_chosen`). A due instance that was passed over, because another transaction holds
-- its row, counts too: nobody announces that the row is free again. What is due is taken by an array of ids: joined,
-- all instances would be read, of which the planner expects fewer.
with recursive clock as materialized (
    select romancy_now() as now
), alive as materialized (
    select token from romancy_workers where token = $1 and not dead
), rung (priority) as (
    (select priority from romancy_instances where wake_at is not null and fair_line = ''
     order by priority desc limit 1)
    union all
    select (select i.priority from romancy_instances i
            where i.wake_at is not null and i.fair_line = '' and i.priority < rung.priority
            order by i.priority desc limit 1)
    from rung
    where rung.priority is not null
), fair_rung (priority) as (
    (select priority from romancy_instances where wake_at is not null and fair_line <> ''
     order by priority desc limit 1)
    union all
    select (select i.priority from romancy_instances i
            where i.wake_at is not null and i.fair_line <> '' and i.priority < fair_rung.priority
            order by i.priority desc limit 1)
    from fair_rung
    where fair_rung.priority is not null
), turning as materialized (
    select w.priority
    from unnest($2::text[]) as t (name) cross join fair_rung cross join lateral (
        select i.priority from romancy_instances i
        where i.priority = fair_rung.priority and i.workflow_name = t.name
          and i.wake_at is not null and i.fair_line <> ''
        limit 1
    ) w
    limit 1
), known as materialized (
    select t.name, t.code, rung.priority
    from unnest($2::text[], $3::text[]) as t (name, code) cross join rung
    where rung.priority is not null
), due as materialized (
    select d.instance_id, d.wake_at, d.wake_at - known.priority * {ahead} as rank
    from clock, known cross join lateral (
        select i.instance_id, i.wake_at
        from romancy_instances i
        where i.priority = known.priority and i.workflow_name = known.name and i.fair_line = ''
          and i.wake_at <= clock.now
          and known.code <> all (i.refused)
          and (i.code <> all ($5::text[]) or i.wake_at <= clock.now - $6::bigint)
        order by i.wake_at
        limit $4::bigint
        for no key update skip locked
    ) d
    where exists (select from alive) and not exists (select from turning)
    order by rank, d.instance_id
    limit $4
), passed_over as materialized (
    select min(p.wake_at) as due
    from clock, known cross join lateral (
        select i.wake_at
        from romancy_instances i
        where i.priority = known.priority and i.workflow_name = known.name and i.fair_line = ''
          and i.wake_at <= clock.now
          and known.code <> all (i.refused)
          and (i.code <> all ($5::text[]) or i.wake_at <= clock.now - $6::bigint)
          and i.instance_id not in (select instance_id from due)
        order by i.wake_at
        limit 1
    ) p
    where (select count(*) from due) < $4 and not exists (select from turning)
), claimed as (
    update romancy_instances i
    set owner = $1, wake_at = null
    where i.instance_id = any (array(select instance_id from due))
    returning i.instance_id, i.life, i.workflow_name, i.status, i.code, i.run_from, i.signals, i.seen,
              i.crashes, i.crash_seq
), given as (
    select claimed.*, due.wake_at as since, due.rank from claimed join due using (instance_id)
    union all
    select instance_id, life, workflow_name, status, code, run_from, signals, seen, crashes, crash_seq, 0, null
    from romancy_instances
    where $7::boolean and owner = $1 and exists (select from alive)
), ahead as (
    select least(min(a.due) filter (where a.due > clock.now),
                 case when count(*) = 8 then greatest(max(a.wake_at), clock.now + 1000000) end) as due
    from clock, known cross join lateral (
        select i.wake_at,
               case when known.code = any (i.refused) then null
                    when i.code = any ($5) then i.wake_at + $6
                    else i.wake_at end as due
        from romancy_instances i
        where i.priority = known.priority and i.workflow_name = known.name and i.fair_line = ''
          and i.wake_at > clock.now - case when cardinality($5) = 0 then 0 else greatest($6, 0) end
        order by i.wake_at
        limit 8
    ) a
    group by known.name, known.priority, clock.now
)
select clock.now, exists (select from alive) as alive,
       exists (select from romancy_instances where owner = $1 and signals <> seen) as mail,
       least((select min(due) from ahead), (select due from passed_over)) as next_due,
       exists (select from turning) as turns,
       given.*
from clock left join given on true
order by given.rank nulls first, given.instance_id;

-- name: turn_priorities () -> priority
-- The priorities with which something waits.
with recursive plain (priority) as (
    (select priority from romancy_instances where wake_at is not null and fair_line = ''
     order by priority desc limit 1)
    union all
    select (select i.priority from romancy_instances i
            where i.wake_at is not null and i.fair_line = '' and i.priority < plain.priority
            order by i.priority desc limit 1)
    from plain
    where plain.priority is not null
), fair (priority) as (
    (select priority from romancy_instances where wake_at is not null and fair_line <> ''
     order by priority desc limit 1)
    union all
    select (select i.priority from romancy_instances i
            where i.wake_at is not null and i.fair_line <> '' and i.priority < fair.priority
            order by i.priority desc limit 1)
    from fair
    where fair.priority is not null
)
select priority from plain where priority is not null
union
select priority from fair where priority is not null;

-- name: turn_of_keys (known(name, code), leave, grace, priority, low, below,
-- limit) -> workflow_name, fair_line, instance_id, wake_at
-- Of each of these workflows, the first due instances of some lines, in the order of the lines.
with clock as materialized (
    select romancy_now() as now
)
select known.name, i.fair_line, i.instance_id, i.wake_at
from clock, unnest($1::text[], $2::text[]) as known (name, code) cross join lateral (
    select i.fair_line, i.instance_id, i.wake_at
    from romancy_instances i
    where i.priority = $5::smallint and i.workflow_name = known.name and i.fair_line <> ''
      and i.fair_line >= $6::text and i.fair_line < $7::text and i.wake_at <= clock.now
      and known.code <> all (i.refused)
      and (i.code <> all ($3::text[]) or i.wake_at <= clock.now - $4::bigint)
    order by i.fair_line, i.wake_at
    limit $8::bigint
) i
order by known.name, i.fair_line, i.wake_at;

-- name: turn_of_none (known(name, code), leave, grace, priority,
-- limit) -> workflow_name, fair_line, instance_id, wake_at
-- The same of what waits in no line, the longest due first.
with clock as materialized (
    select romancy_now() as now
)
select known.name, i.fair_line, i.instance_id, i.wake_at
from clock, unnest($1::text[], $2::text[]) as known (name, code) cross join lateral (
    select i.fair_line, i.instance_id, i.wake_at
    from romancy_instances i
    where i.priority = $5::smallint and i.workflow_name = known.name and i.fair_line = '' and i.wake_at <= clock.now
      and known.code <> all (i.refused)
      and (i.code <> all ($3::text[]) or i.wake_at <= clock.now - $4::bigint)
    order by i.wake_at
    limit $6::bigint
) i;

-- name: claim_chosen
-- Take ownership of these instances, if they are due still and nobody holds them.
with clock as materialized (
    select romancy_now() as now
), alive as materialized (
    select token from romancy_workers where token = $1 and not dead
), due as materialized (
    select i.instance_id, i.wake_at
    from romancy_instances i
    where i.instance_id = any ($2::text[]) and i.wake_at <= (select now from clock) and exists (select from alive)
    order by i.instance_id
    for no key update skip locked
), claimed as (
    update romancy_instances i
    set owner = $1, wake_at = null, fair_line = ''
    where i.instance_id = any (array(select instance_id from due))
    returning i.instance_id, i.life, i.workflow_name, i.status, i.code, i.run_from, i.signals, i.seen,
              i.crashes, i.crash_seq
)
select claimed.*, due.wake_at as since from claimed join due using (instance_id);

-- name: mailboxes
-- The mailboxes of a worker's instances that have unseen mail, of those that it has just claimed ($2), and of those
-- whose mail it does not know ($3): their counters and sizes. For instances just claimed, also the heads of the logs,
-- their writers, and the logs of up to $4 commits of at most $5 bytes each. No message is read for its size. Messages
-- that the worker keeps ($6, up to the numbers $7) are left out if the counter has not fallen below that. `offset 0`
-- reads inbox by inbox; merged, the query would read all mail.
select i.instance_id, i.life, i.signals, i.fresh, m.size, h.head,
       (select l.writer from romancy_log l
        where l.instance_id = i.instance_id and l.life = i.life and l.seq = h.head) as head_writer,
       case when h.head < i.run_from + $4::bigint
            then (select array_agg(l.body order by l.seq) filter (where octet_length(l.body) <= $5::bigint)
                  from romancy_log l
                  where l.instance_id = i.instance_id and l.life = i.life and l.seq between i.run_from and h.head)
       end as log
from (
    select instance_id, life, run_from, last_seq, signals, instance_id = any ($2::text[]) as fresh
    from romancy_instances
    where owner = $1 and signals <> seen
    union
    select instance_id, life, run_from, last_seq, signals, instance_id = any ($2)
    from romancy_instances
    where owner = $1 and instance_id = any ($2 || $3::text[])
) i
cross join lateral (
    select coalesce(sum(octet_length(m.body) + 1), 0)::bigint as size
    from romancy_inbox m
    where m.instance_id = i.instance_id
      and m.number > coalesce((select least(k.number, case when k.number > i.signals then 0 end)
                               from unnest($6::text[], $7::bigint[]) as k (instance_id, number)
                               where k.instance_id = i.instance_id), 0)
    offset 0
) m
cross join lateral (
    select case when i.fresh then greatest(i.last_seq, (select max(seq) from romancy_log l
                                                        where l.instance_id = i.instance_id and l.life = i.life))
           end as head
    offset 0
) h;

-- name: mail (wanted(instance_id, after)) -> instance_id, delivery_id, body, at, address, interest, posted_at
-- The messages in some inboxes, each from behind a number. The counters were read before.
select m.instance_id, m.delivery_id, m.body, m.at, m.address, m.interest, m.posted_at
from unnest($1::text[], $2::bigint[]) as wanted (instance_id, after)
cross join lateral (
    select m.instance_id, m.delivery_id, m.body, m.at, m.address, m.interest, m.posted_at
    from romancy_inbox m where m.instance_id = wanted.instance_id and m.number > wanted.after offset 0
) m
order by m.instance_id, m.delivery_id;

-- name: beat (token, worker_id, lease, codes, boot_id, pid_namespace, pid, pid_start, leaving, registered) -> beat
-- Register a worker or count its beat up, unless it was declared dead. $9: the worker declares itself dead. $10: it had
-- a row, and is dead if that is gone. The answer is the number of its beats.
insert into romancy_workers as w
    (token, worker_id, lease, codes, boot_id, pid_namespace, pid, pid_start, dead, beat, beat_at, started_at)
select $1::text, $2::text, $3::bigint, $4::text[], $5::text, $6::text, $7::bigint, $8::bigint, $9::boolean,
       1, clock.now, clock.now
from (select romancy_now() as now) as clock
where not $10::boolean or exists (select from romancy_workers where token = $1)
on conflict (token) do update
set beat = w.beat + 1, beat_at = excluded.beat_at, dead = excluded.dead, worker_id = excluded.worker_id,
    lease = excluded.lease, codes = excluded.codes, boot_id = excluded.boot_id,
    pid_namespace = excluded.pid_namespace, pid = excluded.pid, pid_start = excluded.pid_start
where not w.dead
returning beat;

-- name: peers (token) -> now, alive, token, worker_id, lease, beat, dead, codes,
-- boot_id, pid_namespace, pid, pid_start, started_at, beat_at
-- All other workers that are alive or still own something, after the time and whether this one is alive. (The server
-- might answer an EXISTS from a hash of all owners.)
select romancy_now() as now,
       exists (select from romancy_workers where token = $1 and not dead) as alive,
       p.token, p.worker_id, p.lease, p.beat, p.dead, p.codes, p.boot_id, p.pid_namespace, p.pid, p.pid_start,
       p.started_at, p.beat_at
from (select) as one
left join romancy_workers p
    on p.token <> $1
   and (not p.dead or (select true from romancy_instances where owner = p.token limit 1));

-- name: declare_dead (worker, dead, beat)
-- Mark a worker dead if its beat has not moved since it was seen and the caller is alive. Both rows are locked, so two
-- workers that suspect each other cannot both succeed. No row touched: refused.
with pair as materialized (
    select token, beat, dead from romancy_workers where token in ($1, $2) order by token for update
), judged as (
    select dead.token
    from pair as asking, pair as dead
    where asking.token = $1 and not asking.dead and dead.token = $2 and (dead.dead or dead.beat = $3)
)
update romancy_workers w set dead = true
from judged where w.token = judged.token;

-- name: free (dead, worker, limit, writer, body, every, ids) -> instance_id
-- Free up to $3 of a dead worker's instances, those whose log takes the entry. Locked ones are left for later. Unless
-- $6, $7 are the only instances to look at.
with held as materialized (
    select instance_id, life, last_seq
    from romancy_instances
    where owner = $1 and ($6::boolean or instance_id = any ($7::text[]))
    order by instance_id
    limit $3
    for no key update skip locked
), placed as materialized (
    select held.instance_id, held.life,
           greatest(last_seq, (select max(seq) from romancy_log l
                               where l.instance_id = held.instance_id and l.life = held.life)) as head,
           romancy_now() as now
    from held
), logged as (
    insert into romancy_log (instance_id, life, seq, writer, body, at)
    select instance_id, life, head + 1, $4::text, $5::bytea, now
    from placed
    where exists (select from romancy_workers where token = $2 and not dead)
    order by instance_id
    on conflict do nothing
    returning instance_id, seq, at
)
update romancy_instances i
set owner = null,
    wake_at = logged.at,
    updated_at = logged.at,
    crashes = case when i.crash_seq = logged.seq - 1 then i.crashes + 1 else 1 end,
    crash_seq = logged.seq,
    last_seq = logged.seq
from logged
where i.instance_id = logged.instance_id
returning i.instance_id;

-- name: free_apart (dead, limit) -> portion, instance_id
-- A place in one of the logs is locked: each of these instances is tried by itself.
select instance_id as portion, instance_id
from romancy_instances
where owner = $1
order by instance_id
limit $2;

-- name: still_owned (owner) -> instance_id
-- Whether a worker still owns an instance.
select instance_id from romancy_instances where owner = $1 limit 1;
