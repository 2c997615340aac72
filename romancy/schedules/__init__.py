"""Schedules: workflows that are started at given times, by any worker."""
