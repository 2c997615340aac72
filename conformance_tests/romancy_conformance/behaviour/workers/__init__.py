"""Workers: what they run, share, hand over and drain, and what they hear late."""
