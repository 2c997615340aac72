"""The storage protocol that the engine uses: its methods, its records, and how a URL leads to a store.

Nothing here knows a workflow or a driver. Adapters live in packages of their own and register by an entry point.
"""
