"""What each system tells about a process: one module for each system, with the same two functions.

`machine()` returns what two processes have in common if each sees the other: the boot and the space of pids.
`started(pid)` returns when the process started, in units of the system; None if there is no such process, or only what
is left of one that ended. Both raise OSError if the system does not tell.
"""
