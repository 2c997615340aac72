"""Windows: several calls that come to one start, with the arguments of the last of them, or of all."""
