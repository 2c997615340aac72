"""Starts: ids that are taken or used again, many starts, late ones, and what the caller is told."""
