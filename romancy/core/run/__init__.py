"""One run: what its body asks for, the comparison with the log, its end, and replay."""
