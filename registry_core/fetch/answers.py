"""What a server's answer means: which bytes it brings, or what the trouble is and whether to ask again.

https://www.rfc-editor.org/rfc/rfc9110 (status codes, ranges, If-Range), https://www.rfc-editor.org/rfc/rfc6585 (429)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from registry_core.errors import FetchError, IntegrityError
from registry_core.fetch.contract import AbsentError
from registry_core.fetch.parts import Note

if TYPE_CHECKING:
    import requests

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSALS = {
    401: (FetchError, "The server wants a login. For a hub file, set HF_TOKEN or run `hf auth login`."),
    403: (FetchError, "The server refuses. A gated hub repository wants its terms accepted, and a token (HF_TOKEN)."),
    404: (AbsentError, "There is no such file."),
    407: (FetchError, "The proxy wants a login: HTTPS_PROXY=http://user:password@host:port."),
    410: (AbsentError, "The file is gone."),
    451: (FetchError, "The server may not give it, for legal reasons."),
}
# The hub's own words about a 401 or 404: then no other file of the repository is there either.
_HUB_REFUSALS = {
    "RepoNotFound": "There is no such repository, or it is private; for a private one set HF_TOKEN.",
    "RevisionNotFound": "The repository has no such revision.",
    "GatedRepo": "The repository is gated: accept its terms on its page, and set HF_TOKEN.",
}


class TroubleError(Exception):
    """An attempt that did not bring the file.

    Attributes:
        what: happened, as the middle of a message.
        advice: what to do; empty for the usual advice.
        again: whether another attempt may go better.
        wait: seconds that the server asks to wait, where it does.
        reached: whether any server answered.
        kind: the error that it becomes, if it stays.
        spoilt: whether the bytes so far are worthless.
    """

    def __init__(
        self,
        what: str,
        advice: str = "",
        *,
        again: bool = False,
        wait: float | None = None,
        reached: bool = True,
        kind: type[FetchError] = FetchError,
        spoilt: bool = False,
    ) -> None:
        super().__init__(what)
        self.what, self.advice, self.again, self.wait = what, advice, again, wait
        self.reached, self.kind, self.spoilt = reached, kind, spoilt


@dataclass(frozen=True, slots=True)
class Answer:
    """What the body of a response is: the note on it, and where its first byte belongs in the file."""

    note: Note
    start: int = 0


def read_answer(response: requests.Response, url: str, sha256_prefix: str, known: Note | None, offset: int) -> Answer:
    """Judge a response by its head.

    Args:
        response: its body not yet read.
        url: that was asked for.
        sha256_prefix: what the file's hash begins with, as far as it is known beforehand.
        known: of the part that the rest was asked for.
        offset: from which the rest was asked for.

    Raises:
        TroubleError: this is not the file, or not its rest.
    """
    _refuse_status(response)
    encoded = response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}
    linked = {
        name: reply.headers[name]
        for reply in (response, *reversed(response.history))
        for name in ("X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit")
        if name in reply.headers
    }
    sha256 = linked.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()
    note = Note(
        url,
        "" if encoded else _validator(response),
        None if encoded else _total(response),
        sha256_prefix or (sha256 if _SHA256.fullmatch(sha256) else ""),
        linked.get("X-Repo-Commit", ""),
    )
    if response.status_code == _PARTIAL:
        return _rest(response, None if encoded else note, known, offset)
    size = linked.get("X-Linked-Size", "")
    if note.total is not None and size.isdecimal() and int(size) != note.total:
        raise TroubleError(
            f"is {int(size):,} bytes long by its repository, and the server offers {note.total:,}",
            "A proxy or mirror may have answered with another file; try again from another network.",
            kind=IntegrityError,
            spoilt=True,
        )
    chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if note.total is None and not encoded and not chunked and not note.expected:
        raise TroubleError(
            "comes without a length, and its SHA-256 is not known: whether all of it has come could not be told",
            "Download it by hand and give pretrained= its path.",
            spoilt=True,
        )
    return Answer(note)


def refuse_page(response: requests.Response, first: bytes) -> None:
    """Ends a download whose first bytes are those of a web page.

    Raises:
        TroubleError: they are.
    """
    text = first[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    says_so = response.headers.get("Content-Type", "").lower().startswith("text/html")
    if text.startswith((b"<!doctype html", b"<html", b"<head")) or (says_so and text.startswith(b"<")):
        raise TroubleError(
            "was answered with an HTML page instead of the file",
            "Login pages and the error pages of proxies look like this; open the address in a browser.",
            kind=IntegrityError,
            spoilt=True,
        )


def trouble_of(error: requests.RequestException) -> TroubleError:
    """What an exception of requests stands for."""
    from requests import exceptions as known
    from urllib3 import exceptions as below

    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, known.TooManyRedirects):
        return TroubleError(
            "redirects in a circle", "The address is out of order at the server; tell its owner.", spoilt=True
        )
    if isinstance(error, known.SSLError):
        return TroubleError(
            f"could not be reached: the server's certificate was not accepted ({reason or error})",
            "Behind a proxy that opens connections, name its certificate by REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, known.ProxyError):
        return TroubleError(f"could not be reached by the proxy: {reason or error}", "Check HTTPS_PROXY, NO_PROXY.")
    if isinstance(error, known.ConnectTimeout) or isinstance(reason, below.NewConnectionError):
        return TroubleError(f"could not be reached: {_plainly(reason or error)}", again=True, reached=False)
    if isinstance(
        error, known.ConnectionError | known.Timeout | known.ChunkedEncodingError | known.ContentDecodingError
    ):
        return TroubleError(f"broke off: {_plainly(error)}", again=True)
    return TroubleError(f"could not be asked for: {error}", "Check the address.")


def _plainly(error: object) -> str:
    """The innermost text of an error: requests and urllib3 wrap theirs in representations of objects."""
    while isinstance(error, Exception) and error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(error.args[0] if isinstance(error, Exception) and error.args else error)
    return (text.rpartition(">: ")[2] or text).rstrip(".")


def _refuse_status(response: requests.Response) -> None:
    status = response.status_code
    if status in {_OK, _PARTIAL}:
        return
    said = f"was answered with HTTP {status} {response.reason or ''}".rstrip()
    hub = _HUB_REFUSALS.get(response.headers.get("X-Error-Code", ""))
    if hub is not None:
        raise TroubleError(said, hub)
    if status == _RANGE_NOT_SATISFIABLE:
        raise TroubleError(said, "The server cannot continue the file.", again=True, wait=0, spoilt=True)
    if status in _PASSING:
        raise TroubleError(
            said, "The server is overloaded or out of order; try again later.", again=True, wait=_asked(response)
        )
    kind, advice = _REFUSALS.get(status, (FetchError, "This is no answer with a file; check the address."))
    raise TroubleError(said, advice, kind=kind)


def _asked(response: requests.Response) -> float | None:
    """The wait that Retry-After asks for, in seconds."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _validator(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _total(response: requests.Response) -> int | None:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code == _PARTIAL and found:
        return int(found[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and response.status_code == _OK else None


def _rest(response: requests.Response, note: Note | None, known: Note | None, offset: int) -> Answer:
    """A partial answer, which must go on where it was asked to, and in the same file."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if note is None or known is None or found is None or int(found[1]) != offset or not _same(note, known):
        raise TroubleError("was continued from another place or another file", again=True, wait=0, spoilt=True)
    expected, commit = note.expected or known.expected, note.commit or known.commit
    return Answer(replace(note, validator=note.validator or known.validator, expected=expected, commit=commit), offset)


def _same(note: Note, known: Note) -> bool:
    """Whether two answers are about one file, as far as both say anything."""
    pairs = ((note.validator, known.validator), (note.total, known.total), (note.expected, known.expected))
    return all(not new or not old or new == old for new, old in pairs)
