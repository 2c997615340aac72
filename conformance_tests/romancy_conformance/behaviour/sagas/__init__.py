"""Undoing: cancellation, time limits of instances, and undos that a body registers."""
