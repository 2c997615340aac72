"""Starting instances: checks, submissions, and what a start does if its id is taken."""
