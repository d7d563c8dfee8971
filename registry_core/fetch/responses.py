"""What a server's response means: the bytes that it contains, or the failure and whether to try again.

https://www.rfc-editor.org/rfc/rfc9110 (status codes, ranges, If-Range), https://www.rfc-editor.org/rfc/rfc6585 (429)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Unpack

from registry_core.errors import ErrorFacts, FetchError, IntegrityError
from registry_core.fetch.contract import AbsentError
from registry_core.fetch.partial_file import PartialMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

OTHER_FILE_ADVICE = "A proxy or mirror may have answered with another file. Try again from another network."

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_HUB_HEADERS = ("X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit")

_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
# Status -> class of the error, explanation, advice.
_REFUSALS = {
    401: (FetchError, "the server requires a login", "For a hub file, set HF_TOKEN or run `hf auth login`."),
    403: (FetchError, "the server refuses access", "For a gated hub repository, accept its terms and set HF_TOKEN."),
    404: (AbsentError, "there is no such file", ""),
    407: (FetchError, "the proxy requires a login", "Set HTTPS_PROXY=http://user:password@host:port."),
    410: (AbsentError, "the file is gone", ""),
    451: (FetchError, "the server may not provide the file, for legal reasons", ""),
}
_OTHER_REFUSAL = (FetchError, "this is not an answer with a file", "Check the address.")
# X-Error-Code of the hub -> explanation, advice. Not an AbsentError, which would make the next file name be tried.
_HUB_REFUSALS = {
    "RepoNotFound": ("the repository does not exist or is private", "For a private repository, set HF_TOKEN."),
    "RevisionNotFound": ("the repository has no such revision", ""),
    "GatedRepo": ("the repository is gated", "Accept its terms on its page, and set HF_TOKEN."),
}


class TransferError(Exception):
    """A failed attempt to transfer a file.

    Args:
        reason: What happened, as a clause.
        **facts: Facts of the error that the caller gets, such as `status`, `expected` and `found`. Without `advice`,
            the message gives the usual advice about the network.

    Attributes:
        reason: What happened, as a clause.
        facts: Facts of the error that the caller gets.
        retryable: Whether another attempt may succeed.
        retry_after: Seconds to wait before the next attempt, or None for the usual delay.
        server_answered: Whether any server answered.
        error_type: Class of the error that the caller gets if no attempt succeeds.
        discard: Whether the bytes so far are useless.
    """

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        server_answered: bool = True,
        error_type: type[FetchError] = FetchError,
        discard: bool = False,
        **facts: Unpack[ErrorFacts],
    ) -> None:
        super().__init__(reason)
        self.reason, self.facts = reason, facts
        self.retryable, self.retry_after, self.server_answered = retryable, retry_after, server_answered
        self.error_type, self.discard = error_type, discard


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """What the body of a response contains.

    Attributes:
        metadata: The file that the body belongs to.
        start: Position of the body's first byte in the file.
    """

    metadata: PartialMetadata
    start: int = 0


def inspect_response(
    response: requests.Response, url: str, sha256_prefix: str, known: PartialMetadata | None, offset: int
) -> ResponseBody:
    """Check the status and the headers of a response.

    Args:
        response: The response. Its body has not been read.
        url: The address that was requested.
        sha256_prefix: What the SHA-256 of the file begins with, as far as it is known beforehand.
        known: Metadata of the partial file that the request wants to continue.
        offset: Position from which the rest was requested.

    Raises:
        TransferError: The body is not the file or its rest.
    """
    _raise_for_status(response)
    encoded = response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}
    hub_headers = _hub_headers(response)
    sha256 = hub_headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()
    metadata = PartialMetadata(
        url,
        "" if encoded else _validator(response),
        None if encoded else _total(response),
        sha256_prefix or (sha256 if _SHA256.fullmatch(sha256) else ""),
        hub_headers.get("X-Repo-Commit", ""),
    )
    if response.status_code == _PARTIAL:
        return _continuation(response, None if encoded else metadata, known, offset)
    _check_repository_size(metadata, hub_headers.get("X-Linked-Size", ""), response.status_code)
    _check_end_is_known(response, metadata, encoded=encoded)
    return ResponseBody(metadata)


def refuse_html_page(response: requests.Response, first: bytes) -> None:
    """End a download that begins like a web page.

    Args:
        response: The response.
        first: The first bytes of its body.

    Raises:
        TransferError: The body is a web page.
    """
    text = first[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    declared = response.headers.get("Content-Type", "").lower().startswith("text/html")
    if text.startswith((b"<!doctype html", b"<html", b"<head")) or (declared and text.startswith(b"<")):
        raise TransferError(
            "the answer was an HTML page instead of the file",
            error_type=IntegrityError,
            discard=True,
            status=response.status_code,
            expected="a file",
            found="an HTML page",
            advice="Login pages and the error pages of proxies look like this. Open the address in a browser.",
        )


def transfer_error_of(error: requests.RequestException) -> TransferError:
    """Return the TransferError for an exception of requests."""
    from requests import exceptions as known
    from urllib3 import exceptions as below

    cause = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, known.TooManyRedirects):
        return TransferError(
            "the address redirects in a loop",
            discard=True,
            advice="The address is broken on the server. Inform its owner.",
        )
    if isinstance(error, known.SSLError):
        return TransferError(
            f"the certificate of the server was not accepted: {cause or error}",
            advice="If a proxy decrypts the connections, set REQUESTS_CA_BUNDLE to the file with its certificate.",
        )
    if isinstance(error, known.ProxyError):
        return TransferError(
            f"the proxy could not be reached: {cause or error}", advice="Check HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, known.ConnectTimeout) or isinstance(cause, below.NewConnectionError):
        reason = f"the server could not be reached: {_innermost_text(cause or error)}"
        return TransferError(reason, retryable=True, server_answered=False)
    if isinstance(
        error, known.ConnectionError | known.Timeout | known.ChunkedEncodingError | known.ContentDecodingError
    ):
        return TransferError(f"the connection was interrupted: {_innermost_text(error)}", retryable=True)
    return TransferError(f"the request could not be sent: {error}", advice="Check the address.")


def _innermost_text(error: object) -> str:
    """Return the innermost text of an error. requests and urllib3 wrap it in representations of objects."""
    while isinstance(error, Exception) and error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(error.args[0] if isinstance(error, Exception) and error.args else error)
    return (text.rpartition(">: ")[2] or text).rstrip(".")


def _raise_for_status(response: requests.Response) -> None:
    status = response.status_code
    if status in {_OK, _PARTIAL}:
        return
    answer = f"the answer was HTTP {status} {response.reason or ''}".rstrip()
    if response.headers.get("X-Error-Code", "") in _HUB_REFUSALS:
        explanation, advice = _HUB_REFUSALS[response.headers["X-Error-Code"]]
        raise TransferError(f"{answer}: {explanation}", status=status, advice=advice)
    if status == _RANGE_NOT_SATISFIABLE:
        reason = f"{answer}: the server cannot continue the file"
        raise TransferError(reason, retryable=True, retry_after=0, discard=True, status=status, advice="")
    if status in _TEMPORARY:
        reason, delay = f"{answer}: the server is overloaded or out of order", _retry_after(response)
        raise TransferError(reason, retryable=True, retry_after=delay, status=status, advice="Try again later.")
    error_type, explanation, advice = _REFUSALS.get(status, _OTHER_REFUSAL)
    raise TransferError(f"{answer}: {explanation}", error_type=error_type, status=status, advice=advice)


def _retry_after(response: requests.Response) -> float | None:
    """Return the delay that the Retry-After header asks for, in seconds."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _hub_headers(response: requests.Response) -> Mapping[str, str]:
    """Return the hub's headers about the file. The hub's own answer overrides those that it redirects to."""
    return {
        name: reply.headers[name]
        for reply in (response, *reversed(response.history))
        for name in _HUB_HEADERS
        if name in reply.headers
    }


def _validator(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _total(response: requests.Response) -> int | None:
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code == _PARTIAL and content_range:
        return int(content_range[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and response.status_code == _OK else None


def _check_repository_size(metadata: PartialMetadata, size: str, status: int) -> None:
    """Compare the length of the body with the size that the repository states."""
    if metadata.total is not None and size.isdecimal() and int(size) != metadata.total:
        raise TransferError(
            f"the repository states a size of {int(size):,} bytes, but the server offers {metadata.total:,}",
            error_type=IntegrityError,
            discard=True,
            status=status,
            expected=int(size),
            found=metadata.total,
            advice=OTHER_FILE_ADVICE,
        )


def _check_end_is_known(response: requests.Response, metadata: PartialMetadata, *, encoded: bool) -> None:
    """Refuse a body that could end early without anyone noticing."""
    chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if metadata.total is None and not encoded and not chunked and not metadata.expected:
        raise TransferError(
            "the server states no length and the SHA-256 is not known, so an incomplete file would not be noticed",
            discard=True,
            status=response.status_code,
            advice="Download the file by hand and give pretrained= its path.",
        )


def _continuation(
    response: requests.Response, metadata: PartialMetadata | None, known: PartialMetadata | None, offset: int
) -> ResponseBody:
    """Check a partial response. It must continue the same file from the requested position."""
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    start = int(content_range[1]) if content_range else None
    if metadata is None or known is None or start != offset or not _same_file(metadata, known):
        raise TransferError(
            "the server continued another file, or from another position",
            retryable=True,
            retry_after=0,
            discard=True,
            status=response.status_code,
        )
    expected, commit = metadata.expected or known.expected, metadata.commit or known.commit
    validator = metadata.validator or known.validator
    return ResponseBody(replace(metadata, validator=validator, expected=expected, commit=commit), offset)


def _same_file(metadata: PartialMetadata, known: PartialMetadata) -> bool:
    """Whether two responses describe the same file, as far as both state a property."""
    pairs = (
        (metadata.validator, known.validator),
        (metadata.total, known.total),
        (metadata.expected, known.expected),
    )
    return all(not new or not old or new == old for new, old in pairs)
