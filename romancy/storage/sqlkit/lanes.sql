-- Places under limits. A demand for one is an interest of the kind `take` at the address of its lane. Who has a place is
-- interested at the address that belongs to the lane. Neither gets messages there.

-- name: lane_marks (address, limit) -> message_id, spread
-- The messages at a lane. Those for everyone say that something has changed there: they have no receivers. The others are
-- for demands that get no place.
select message_id, spread from romancy_messages where address = :address limit :limit;

-- name: lane_taken (address) -> taken, heavy
-- How many instances that have not ended have places of a lane, and how many of these count as several.
select count(*), count(case when i.interest_id like '%~%#%' then 1 end)
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address = :address and x.status not in ('completed', 'failed', 'cancelled');

-- name: lane_heavy (address) -> where_
-- The places of a lane that count as several.
select i.where_
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address = :address and i.interest_id like '%~%#%' and x.status not in ('completed', 'failed', 'cancelled');

-- name: lane_waiting (address, kind, limit) -> owner, life, interest_id, where_, at, address
-- The first demands of a kind at a lane, of instances that have not ended. `take`: those that wait in line.
select i.owner, i.life, i.interest_id, i.where_, i.at, i.address
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address = :address and i.kind = :kind and x.status not in ('completed', 'failed', 'cancelled')
order by i.at, i.owner, i.life, i.interest_id
limit :limit;

-- name: lane_lines (low, below, limit) -> owner, life, interest_id, where_, at, address
-- The first demands in some lines of a lane, of instances that have not ended, in the order of the lines.
select i.owner, i.life, i.interest_id, i.where_, i.at, i.address
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address >= :low and i.address < :below and i.kind = 'take'
    and x.status not in ('completed', 'failed', 'cancelled')
order by i.address, i.at, i.owner, i.life, i.interest_id
limit :limit;

-- name: lane_books (address, books, lane, limits, terms, low, below) -> number, where_, chosen, first, last, now
-- What is noted of a lane: the last number, when its last places were given, and what an operator has chosen. Then its
-- first and its last line.
select
    (select a.number from romancy_addresses a where a.address = :address),
    (select b.where_ from romancy_interests b where b.owner = :books and b.life = 0 and b.interest_id = :lane),
    (select c.where_ from romancy_interests c where c.owner = :limits and c.life = 0 and c.interest_id = :terms),
    (select i.address from romancy_interests i where i.address >= :low and i.address < :below order by i.address limit 1),
    (select i.address from romancy_interests i where i.address >= :low and i.address < :below
     order by i.address desc limit 1),
    {now};

-- name: lane_room (held, most, lane, low, below, limits, terms) -> taken, heavy, waits, chosen
-- Whether there is room at a lane where nobody waits: how many places are taken, counted up to so many, how many of them
-- count as several, whether somebody waits, and what an operator has chosen. Whose instance has ended counts too.
select
    count(*),
    count(case when p.interest_id like '%~%#%' then 1 end),
    case when exists (select 1 from romancy_interests w where w.address = :lane)
        or exists (select 1 from romancy_interests w where w.address >= :low and w.address < :below) then 1 else 0 end,
    (select c.where_ from romancy_interests c where c.owner = :limits and c.life = 0 and c.interest_id = :terms)
from (select i.interest_id from romancy_interests i where i.address = :held limit :most) p;

-- name: lanes (low, high, limit) -> address, count, at
-- How many interests there are at each address between two, and since when the first one; the most crowded first. The
-- lines of a lane count as the lane.
select lane, count(*), min(at)
from (select {lane address} as lane, at from romancy_interests where address >= :low and address <= :high) told
group by lane
order by count(*) desc, lane
limit :limit;

-- name: lane_front (address, limit) -> owner, life, where_, at, workflow_name, status
-- The first interests at an address, of instances that have not ended.
select i.owner, i.life, i.where_, i.at, x.workflow_name, x.status
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address = :address and x.status not in ('completed', 'failed', 'cancelled')
order by i.at, i.owner, i.life, i.interest_id
limit :limit;

-- name: lane_fronts (low, below, limit) -> owner, life, where_, at, workflow_name, status
-- The same of all lines of a lane.
select i.owner, i.life, i.where_, i.at, x.workflow_name, x.status
from romancy_interests i {then_join}
romancy_instances x on x.instance_id = i.owner and x.life = i.life
where i.address >= :low and i.address < :below and x.status not in ('completed', 'failed', 'cancelled')
order by i.at, i.owner, i.life, i.interest_id
limit :limit;

-- name: line (owner, life, interest_id) -> before
-- How many demands stand before this one at its lane.
select count(*)
from romancy_interests mine
join romancy_interests i on i.address = mine.address and i.at <= mine.at
where mine.owner = :owner and mine.life = :life and mine.interest_id = :interest_id
    and (i.at, i.owner, i.life, i.interest_id) < (mine.at, mine.owner, mine.life, mine.interest_id);

-- name: places_of (ids) -> owner, life, interest_id, address, kind, where_
-- The demands and places of these instances.
select owner, life, interest_id, address, kind, where_ from romancy_interests
where owner {among :ids} and life <> 0 and (address like 'l/%' or address like 'p/%');
