"""Tells somebody when workflows need a person: `romancy alerts`.

`conditions` reads what holds now. `watching` looks every minute, and sends what has changed to the one instance of
`keeper`, which remembers what was told. So each alert is told once, by any number of processes and over restarts.
`telling` posts it to a webhook, or gives it to a command.
"""

from __future__ import annotations

from romancy.alerting.conditions import Condition, Thresholds, conditions_of
from romancy.alerting.telling import ByCommand, ByWebhook, Telling
from romancy.alerting.watching import AlertApp, Watch

__all__ = ["AlertApp", "ByCommand", "ByWebhook", "Condition", "Telling", "Thresholds", "Watch", "conditions_of"]
