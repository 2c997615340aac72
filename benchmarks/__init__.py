"""Programs that measure; each prints a table with the floor it is to be held against."""
