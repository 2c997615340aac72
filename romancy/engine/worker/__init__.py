"""The worker: its lease, its claims, how it brings instances back, and what it does about those that kill it."""
