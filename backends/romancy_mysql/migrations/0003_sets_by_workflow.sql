-- The sets of declared paths by workflow: a search that names a workflow which has always declared its paths then looks
-- nowhere but into the index. What is there already is found in the instances. A row without a name, as an older version
-- of Romancy writes it beside this one, speaks for every workflow.
-- not additive: older code takes a set for known that no workflow has recorded.

alter table romancy_index_sets
    add column workflow_name varbinary(255) not null default '' first,
    drop primary key,
    add primary key (workflow_name, index_paths);

insert into romancy_index_sets (workflow_name, index_paths, paths)
select used.workflow_name, sets.index_paths, sets.paths
from (select distinct workflow_name, index_paths from romancy_instances) used
join romancy_index_sets sets on sets.workflow_name = '' and sets.index_paths = used.index_paths
on duplicate key update index_paths = romancy_index_sets.index_paths;

delete from romancy_index_sets where workflow_name = '';
