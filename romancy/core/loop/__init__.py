"""The event loop in which the body of a workflow runs: its tasks, futures, generators, and its place in a thread."""
