"""The pages of limits and their lanes, and what can be done to a limit."""
