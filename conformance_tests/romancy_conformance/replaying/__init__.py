"""When a test ends, another process with another hash seed replays every history that the test has written.

In every test, the code must do again from the log what the engine did live. `noting` records which databases and
workflows a test uses, `replayed` checks what the databases hold at its end, and `elsewhere` is the other process. A
test that damages logs on purpose is marked with `@pytest.mark.unreplayable("why")`. The summary of the run counts what
could not be replayed, by reason.
"""

from romancy_conformance.replaying.client import Answer, Replayer
from romancy_conformance.replaying.harvest import Noted, noting, replayed

__all__ = ["Answer", "Noted", "Replayer", "noting", "replayed"]
