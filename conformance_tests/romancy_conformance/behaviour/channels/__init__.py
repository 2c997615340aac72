"""Channels: subscribers in workflows and outside, their ends, retries and members."""
