-- Which sets of declared paths the instances of each workflow have had: a search that names a workflow looks at no
-- others. What the instances say is the truth, and all that is needed of the old table.
-- not additive: the rows that older code adds to romancy_index_sets lack the workflow.

drop table romancy_index_sets;

create table romancy_index_sets (
    workflow_name text not null,
    paths         text not null,
    primary key (workflow_name, paths)
) without rowid;

insert into romancy_index_sets (workflow_name, paths)
select distinct workflow_name, index_paths from romancy_instances;
