"""The drivers: one library each behind the interface of `protocol`, each run in an environment of its own."""
