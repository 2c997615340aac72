"""Waiting for the ends of instances."""
