"""Programs that measure; each prints a table with the floor to compare with."""
