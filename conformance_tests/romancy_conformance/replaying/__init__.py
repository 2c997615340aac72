"""Every history that a test has written is replayed when the test ends, by another process with another hash seed.

What the engine did live, and what the code does again from the log, must be the same: in every test, whatever it is
about. `noting` watches which databases and which workflows a test uses, `replayed` goes through what they hold at its
end, and `elsewhere` is the other process. A test whose logs are broken on purpose says so with
`@pytest.mark.unreplayable("why")`. What could not be replayed is counted at the end of the run, by reasons.
"""

from romancy_conformance.replaying.client import Answer, Replayer
from romancy_conformance.replaying.harvest import Noted, noting, replayed

__all__ = ["Answer", "Noted", "Replayer", "noting", "replayed"]
