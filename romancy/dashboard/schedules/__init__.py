"""The pages of schedules, and what can be done to one."""
