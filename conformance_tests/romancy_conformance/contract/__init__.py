"""The contract of the storage protocol: one file per family of promises, the same tests for every store."""
