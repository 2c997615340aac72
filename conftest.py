"""What every test of the tree shares: how hypothesis looks through a space of inputs.

Fixtures belong beside the tests that use them, servers to `romancy_conformance.servers`.
"""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: many processes share the machine, and a slow example says nothing about the code.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.register_profile("soak", settings.get_profile("suite"), max_examples=2000)
settings.load_profile("soak" if os.environ.get("ROMANCY_SOAK") else "suite")
