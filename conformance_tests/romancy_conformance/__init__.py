"""The tests that Romancy's databases, adapters and engine must pass, importable by authors of other adapters.

`contract` tests the promises of the storage protocol, `behaviour` tests what a user sees, and `servers` starts real
databases for our own runs; `servers` is not in the wheel.
"""
