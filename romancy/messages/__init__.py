"""Messages from outside: signals, events, channels and subscriptions."""
