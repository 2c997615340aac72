"""Signals and the mail of instances: each is received once, in order, whatever races it."""
