"""A cluster in one thread: simulated processes with event loops and clocks of their own, one database, and a wire.

`world` has the true time, and turns whatever is due next. A process (`process`) is an event loop (`loop`) with
surroundings of its own. `server` keeps the database, and answers over a `wire` that delays, loses and cuts. Nothing
here draws from anything but the seed, so the same seed gives the same trace.
"""
