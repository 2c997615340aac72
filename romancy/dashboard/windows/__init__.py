"""The page of windows: which calls wait to come to one start."""
