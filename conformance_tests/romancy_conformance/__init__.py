"""What Romancy's databases, adapters and engine are held to, importable by whoever writes another adapter.

`contract` asks for the promises of the storage protocol, `behaviour` for what a user sees, `servers` brings real
databases to our own runs and is not in the wheel.
"""
