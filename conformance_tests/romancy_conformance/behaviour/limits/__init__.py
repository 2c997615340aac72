"""Limits: who has a place, who waits for one, and what operators choose."""
