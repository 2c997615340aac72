"""The worker: its lease, its claims, recovery, and the quarantine of instances that may kill their workers."""
