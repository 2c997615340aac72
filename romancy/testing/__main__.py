"""`python -m romancy.testing`: a worker that `crash_at_every_commit` starts and kills."""

from __future__ import annotations

from romancy.testing._processes import main

if __name__ == "__main__":
    main()
