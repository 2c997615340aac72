"""Running activities and compensations: attempts, sessions, threads, processes, heartbeats."""
