"""What events mean: the table of their kinds, the rules by which they change a state, and the memory of a retry."""
