"""A package with workflows, for `romancy lint`."""
