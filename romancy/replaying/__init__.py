"""Replays beside a worker and in tests, which nobody outside of them sees."""
