"""Durable execution for Python: plain `async def` workflows that survive any crash."""
