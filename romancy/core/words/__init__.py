"""The words of the core: the events of the log, the effects that a run asks for, what it calls, and their ids."""
