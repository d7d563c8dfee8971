"""When a failed download is retried, and after which delay."""

from __future__ import annotations

import logging
import random
import time

from registry_core.fetch.responses import TransferError
from registry_core.fetch.settings import Settings
from registry_core.fetch.sources import without_secrets

LONGEST_WAIT = 60.0  # seconds
_PROGRESS = 1 << 20  # bytes beyond the earlier maximum that reset the count of failures

logger = logging.getLogger(__name__)


class RetryState:
    """The number of failed attempts in a row without progress.

    Args:
        settings: The number of attempts and the first delay.
        url: The address that is requested, for the log.
    """

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url
        self._failures = self._largest = 0
        self._server_answered = False

    def wait_or_raise(self, failure: TransferError, size: int) -> None:
        """Wait until the next attempt.

        Args:
            failure: The failure of the last attempt.
            size: Number of bytes so far.

        Raises:
            TransferError: The given failure, because another attempt has no point.
        """
        self._server_answered = self._server_answered or failure.server_answered
        if size >= self._largest + _PROGRESS:
            self._failures, self._largest = 0, size
        self._failures += 1
        # No retry if no server ever answered: without a network, fail immediately.
        if not (failure.retryable and self._server_answered) or self._failures >= self._settings.attempts:
            raise failure
        if failure.retry_after is not None and failure.retry_after > LONGEST_WAIT:
            failure.facts["advice"] = (
                f"The server asks clients to wait {failure.retry_after:,.0f} seconds; try again after that."
            )
            raise failure
        delay = self._delay(failure)
        logger.info(
            "Retrying %s in %.1f seconds, after failure %d of %d: %s",
            without_secrets(self._url),
            delay,
            self._failures,
            self._settings.attempts,
            without_secrets(failure.reason),
        )
        time.sleep(delay)

    def _delay(self, failure: TransferError) -> float:
        """Return the delay in seconds: the server's, or one that doubles with each failure, with some jitter."""
        if failure.retry_after is not None:
            return failure.retry_after
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 # no secret
        return min(self._settings.backoff * 2.0 ** (self._failures - 1) * jitter, LONGEST_WAIT)
