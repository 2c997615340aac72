"""Gives back messages that were taken for a wait and arrived after the wait had ended.

A copy that arrived after the workflow had ended its subscription is given back too, which removes it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from romancy.engine.slot import GONE
from romancy.storage.routing import Owner

if TYPE_CHECKING:
    from romancy.engine.inbox import Mail
    from romancy.engine.instance import Live
    from romancy.engine.reports import Drives

__all__ = ["give_strays_back"]


def give_strays_back(driver: Drives, live: Live) -> None:
    """Give back the kept messages that no wait fits, and drop copies for subscriptions that have ended.

    The instance is not released until they are back: if this worker dies, another one gives them back.
    """
    mails = live.inbox.strays()
    for topic in live.run.state.left:
        mails += live.inbox.take_copies(topic)
    for mail in mails:
        live.returns(mail)
        done = functools.partial(_returned, driver, live, mail)
        driver.dispatcher.give_back(Owner(live.instance_id, live.life), mail, done)


def _returned(driver: Drives, live: Live, mail: Mail) -> None:
    are_all_back = live.has_returned(mail)
    if live.slot is GONE:
        return
    if live.lacks_mail:
        driver.reports.lacks_mail(live)
    if are_all_back:
        driver.release(live)
