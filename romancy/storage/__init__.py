"""What the engine asks of a database: the protocol, what crosses it, and how a store is found for a URL.

Nothing here knows a workflow or a driver. Adapters live in packages of their own and enter by an entry point.
"""
