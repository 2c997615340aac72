"""Sessions: the transaction of an activity, and calls in a transaction of the caller."""
