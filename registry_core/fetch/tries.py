"""How often, and after which waits, a download that broke off is tried again."""

from __future__ import annotations

import random
import time

from registry_core.fetch.answers import TroubleError
from registry_core.fetch.settings import Settings

LONGEST_WAIT = 60.0  # seconds
_GETTING_ON = 1 << 20  # bytes further than ever before that make a broken attempt count as none


class Tries:
    """Attempts in a row that fail without getting on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failed = self._best = 0
        self._reached = False

    def spend(self, trouble: TroubleError, size: int) -> None:
        """Wait for the next attempt.

        Args:
            trouble: of the last one.
            size: bytes that are here.

        Raises:
            TroubleError: the given one, since another attempt would be of no use.
        """
        self._reached = self._reached or trouble.reached
        if size >= self._best + _GETTING_ON:
            self._failed, self._best = 0, size
        self._failed += 1
        # A server that was never reached is not waited for: a missing network is said at once.
        if not (trouble.again and self._reached) or self._failed >= self._settings.attempts:
            raise trouble
        wait = self._settings.backoff * 2 ** (self._failed - 1) * random.uniform(0.75, 1.25)  # noqa: S311 # no secret
        if trouble.wait is not None:
            wait = trouble.wait
        if wait > LONGEST_WAIT and trouble.wait is not None:
            trouble.advice = f"The server asks to wait {trouble.wait:,.0f} seconds; try again after that."
            raise trouble
        time.sleep(min(wait, LONGEST_WAIT))
