"""Actions on all instances that a search finds: a workflow of the dashboard's own, its worker, and its pages."""
