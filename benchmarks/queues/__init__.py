"""Queues of jobs: a driver for each library, whose worker is a process of its own."""
