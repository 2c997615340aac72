"""The drivers. Each is for one library, has the interface of `protocol`, and runs in a separate environment."""
