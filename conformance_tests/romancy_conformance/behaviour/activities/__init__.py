"""Activities: attempts, time limits, threads, heartbeats, errors, and what the log says of them."""
