"""Safety: codecs, hidden inputs, passwords, and the sizes of what is stored."""
