"""Download one file into the cache: stream, resume, retry, verify during the download, move to the final path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from registry_core.fetch.contract import FetchContext, Fetched
from registry_core.fetch.copying import copied
from registry_core.fetch.jobs import (
    NO_SPACE,
    DownloadJob,
    cached,
    check_space,
    fetch_error,
    fetch_exclusively,
    verify_and_commit,
    write_error,
)
from registry_core.fetch.partial_file import PartialFile
from registry_core.fetch.progress import Report, reporting
from registry_core.fetch.responses import (
    ResponseBody,
    TransferError,
    inspect_response,
    refuse_html_page,
    transfer_error_of,
)
from registry_core.fetch.retry import RetryState
from registry_core.fetch.sources import without_secrets

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 18  # an interruption loses little, and larger chunks would not be faster

logger = logging.getLogger(__name__)


def download(job: DownloadJob, context: FetchContext) -> Fetched:
    """Return the file from the cache. It is downloaded there if necessary.

    Args:
        job: The file.
        context: The circumstances.

    Raises:
        OfflineError: The file is not in the cache, and the network is forbidden.
        AbsentError: The server has no such file.
        IntegrityError: The server sent other bytes than expected.
        FetchError: The file could not be downloaded. The message states the reason.
    """
    found = cached(job)
    if found is not None:
        return found
    url = context.settings.mirrored(job.url)
    if urlsplit(url).scheme == "file":
        return copied(job, Path(url2pathname(urlsplit(url).path)), context)
    context.refuse_offline(job.url, job.path)
    return fetch_exclusively(job, context, lambda: _download(job, url, context))


def _download(job: DownloadJob, url: str, context: FetchContext) -> None:
    try:
        partial = PartialFile.resume_or_create(job.path, url)
    except OSError as error:
        raise write_error(job, error, context) from error
    logger.info("Downloading %s to %s", without_secrets(url), job.path)
    try:
        _download_with_retries(job, url, partial, context)
    except TransferError as failure:
        raise fetch_error(job, url, failure, partial, context) from failure.__cause__
    except OSError as error:
        partial.abandon(keep=error.errno not in NO_SPACE)
        raise write_error(job, error, context) from error
    except BaseException:
        partial.abandon(keep=True)
        raise


@dataclass(frozen=True, slots=True)
class _Connection:
    """What the attempts of one download share.

    Attributes:
        job: The file.
        url: The address that is requested: the mirror's, if there is one.
        session: The HTTP session.
        report: Reports the progress.
        timeout: The time-outs to connect and to read, in seconds.
    """

    job: DownloadJob
    url: str
    session: requests.Session
    report: Report
    timeout: tuple[float, float]


def _download_with_retries(job: DownloadJob, url: str, partial: PartialFile, context: FetchContext) -> None:
    import requests

    retry = RetryState(context.settings, url)
    with requests.Session() as session, reporting(job.path.name, context) as report:
        connection = _Connection(job, url, session, report, context.settings.timeout)
        while True:
            try:
                if not partial.complete:
                    _attempt(connection, partial)
                verify_and_commit(job, url, partial)
            except TransferError as failure:
                if failure.discard:
                    partial.restart()
                retry.wait_or_raise(failure, partial.size)
            else:
                return


def _attempt(connection: _Connection, partial: PartialFile) -> None:
    """Request the missing bytes once and write those that arrive."""
    import requests

    with _request(connection, partial) as response:
        sha256_prefix = connection.job.sha256_prefix
        body = inspect_response(response, connection.url, sha256_prefix, partial.metadata, partial.size)
        try:
            _receive(response, body, partial, connection)
        except requests.RequestException as error:
            raise transfer_error_of(error) from error
    total = body.metadata.total
    if total is not None and partial.size != total:
        reason = f"the connection was interrupted: {partial.size:,} of {total:,} bytes arrived"
        raise TransferError(reason, retryable=True, status=response.status_code, expected=total, found=partial.size)


def _request(connection: _Connection, partial: PartialFile) -> requests.Response:
    import requests

    headers, login = _headers(partial), _login(connection.job.token)
    try:
        return connection.session.get(
            connection.url, stream=True, timeout=connection.timeout, headers=headers, auth=login
        )
    except requests.RequestException as error:
        raise transfer_error_of(error) from error
    except (OSError, ValueError) as error:  # such as a REQUESTS_CA_BUNDLE that does not exist
        reason = f"the request could not be sent: {error}"
        raise TransferError(reason, advice="Check the address and the settings.") from error


def _headers(partial: PartialFile) -> dict[str, str]:
    """Return the request headers: no compression, and only the missing bytes if the partial file can be resumed."""
    headers = {"Accept-Encoding": "identity"}
    if partial.size and partial.metadata is not None and partial.metadata.resumable:
        headers["Range"] = f"bytes={partial.size}-"
        if partial.metadata.validator:
            headers["If-Range"] = partial.metadata.validator
    elif partial.size:
        partial.restart()
    return headers


def _receive(response: requests.Response, body: ResponseBody, partial: PartialFile, connection: _Connection) -> None:
    """Append the body of a response to the partial file, or start the file again."""
    total = body.metadata.total
    if body.start != partial.size:
        partial.restart()
    if body.start:
        logger.info("Resuming %s at byte %d of %s", without_secrets(connection.url), body.start, total)
    partial.describe(body.metadata)
    check_space(partial)
    partial.pieces += 1
    for chunk in response.iter_content(_CHUNK):
        if partial.size == 0:
            refuse_html_page(response, chunk)
        partial.write(chunk)
        connection.report(partial.size, total)


def _login(token: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest] | None:
    """Return a function that adds a token to a request. requests would let .netrc override a plain header."""
    if not token:
        return None

    def add(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return add
