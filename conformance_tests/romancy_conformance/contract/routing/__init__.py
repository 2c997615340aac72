"""Routing: messages that are posted to addresses, and dispatched to interested owners."""
