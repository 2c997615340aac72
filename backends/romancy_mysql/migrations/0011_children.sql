-- The children of an instance, in the order of pages. Instances without a parent are in the index too, by age.
-- additive: only an index.

alter table romancy_instances
    add key by_parent (parent, created_at, instance_id);
