"""The contract under fire: real processes, real servers, killed, frozen, cut off and set against each other.

A process speaks to its store alone and notes what the store acknowledged in a file that outlives it; the test then
holds the database against the notes of all of them. Nothing is judged by the clock: what happens when is up to the
machine, what is left behind is not.
"""
