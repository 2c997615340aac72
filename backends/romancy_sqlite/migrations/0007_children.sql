-- The children of an instance, in the order of pages. Most instances have no parent, and take no place in the index.
-- additive: only an index.

create index romancy_instances_parent on romancy_instances (parent, created_at desc, instance_id desc)
where parent is not null;
