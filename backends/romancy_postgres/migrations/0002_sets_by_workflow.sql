-- The sets of declared paths by workflow: a search that names a workflow which has always declared its paths then
-- looks nowhere but into the index. What is there already is found in the instances, of which none may be on its way.
-- not additive: the rows that older code adds to romancy_index_sets lack the workflow.

lock table romancy_instances in share row exclusive mode;
alter table romancy_index_sets add column workflow_name text collate "C";
alter table romancy_index_sets drop constraint romancy_index_sets_pkey;

insert into romancy_index_sets (workflow_name, paths, members)
select used.workflow_name, sets.paths, sets.members
from (select distinct workflow_name, index_paths from romancy_instances) used
join romancy_index_sets sets on sets.paths = used.index_paths and sets.workflow_name is null;

delete from romancy_index_sets where workflow_name is null;
alter table romancy_index_sets add primary key (workflow_name, paths);
