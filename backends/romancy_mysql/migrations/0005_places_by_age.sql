-- Every instance has a place in each of these indexes, most under a value that nearly all have: not due, of nobody, in its
-- first run. Among those the place was that of the id, on any page of them all: a claim of ten read ten to twenty pages
-- from the disk only to leave the due and the unowned, and a start read three. By age it is where the others of its hour
-- are. Done again after a crash, it is the same.
-- additive: only indexes, under the names that older code gives as hints.

alter table romancy_instances
    drop key claim, add key claim (workflow_name, wake_at, created_at),
    drop key owned, add key owned (owner, created_at),
    drop key runs, add key runs (run_from, created_at);
