"""One file over the network into the cache: stream, resume, try again, verify on the way, move into place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from registry_core.fetch.answers import Answer, TroubleError, read_answer, refuse_page, trouble_of
from registry_core.fetch.contract import FetchContext, Fetched
from registry_core.fetch.copying import copied
from registry_core.fetch.jobs import NO_SPACE, Job, alone, cached, check_space, failed, unwritable, verify_and_keep
from registry_core.fetch.parts import Part
from registry_core.fetch.progress import Report, reporting
from registry_core.fetch.tries import Tries

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 18  # small enough that a break loses little, large enough to cost nothing


def download(job: Job, context: FetchContext) -> Fetched:
    """The file from the cache, or brought into it.

    Raises:
        OfflineError: it is not here, and the network is forbidden.
        AbsentError: the server has no such file.
        IntegrityError: other bytes came than were expected.
        FetchError: it could not be brought here; the message says why.
    """
    found = cached(job)
    if found is not None:
        return found
    url = context.settings.mirrored(job.url)
    if urlsplit(url).scheme == "file":
        return copied(job, Path(url2pathname(urlsplit(url).path)), context)
    context.refuse_offline(job.url, job.path)
    return alone(job, context, lambda: _fetch(job, url, context))


def _fetch(job: Job, url: str, context: FetchContext) -> None:
    try:
        part = Part.begin(job.path, url)
    except OSError as error:
        raise unwritable(job, error, context) from error
    try:
        _until_kept(job, url, part, context)
    except TroubleError as trouble:
        raise failed(job, url, trouble, part, context) from trouble.__cause__
    except OSError as error:
        part.leave(keep=error.errno not in NO_SPACE)
        raise unwritable(job, error, context) from error
    except BaseException:
        part.leave(keep=True)
        raise


@dataclass(frozen=True, slots=True)
class _Line:
    """Over what is asked: the file, its address, and who is told of the progress."""

    job: Job
    url: str
    session: requests.Session
    report: Report
    timeout: tuple[float, float]


def _until_kept(job: Job, url: str, part: Part, context: FetchContext) -> None:
    import requests

    tries = Tries(context.settings)
    with requests.Session() as session, reporting(job.path.name, context) as report:
        line = _Line(job, url, session, report, context.settings.timeout)
        while True:
            try:
                if not part.complete:
                    _attempt(line, part)
                verify_and_keep(job, url, part)
            except TroubleError as trouble:
                if trouble.spoilt:
                    part.restart()
                tries.spend(trouble, part.size)
            else:
                return


def _attempt(line: _Line, part: Part) -> None:
    """Ask once for what is missing, and take what comes."""
    import requests

    with _ask(line, part) as response:
        answer = read_answer(response, line.url, line.job.sha256_prefix, part.note, part.size)
        try:
            _take(response, answer, part, line.report)
        except requests.RequestException as error:
            raise trouble_of(error) from error
    total = answer.note.total
    if total is not None and part.size != total:
        raise TroubleError(f"broke off: {part.size:,} of {total:,} bytes came", again=True)


def _ask(line: _Line, part: Part) -> requests.Response:
    import requests

    headers, login = _headers(part), _login(line.job.token)
    try:
        return line.session.get(line.url, stream=True, timeout=line.timeout, headers=headers, auth=login)
    except requests.RequestException as error:
        raise trouble_of(error) from error
    except (OSError, ValueError) as error:  # such as a REQUESTS_CA_BUNDLE that is not there
        raise TroubleError(f"could not be asked for: {error}", "Check the address and the settings.") from error


def _headers(part: Part) -> dict[str, str]:
    """Plain bytes, and only those that are missing where they can be told from another file's."""
    headers = {"Accept-Encoding": "identity"}
    if part.size and part.note is not None and part.note.resumable:
        headers["Range"] = f"bytes={part.size}-"
        if part.note.validator:
            headers["If-Range"] = part.note.validator
    elif part.size:
        part.restart()
    return headers


def _take(response: requests.Response, answer: Answer, part: Part, report: Report) -> None:
    """Write a response's body behind what is there, or from the start."""
    if answer.start != part.size:
        part.restart()
    part.describe(answer.note)
    check_space(part)
    part.pieces += 1
    chunks: Iterator[bytes] = response.iter_content(_CHUNK)
    for chunk in chunks:
        if part.size == 0:
            refuse_page(response, chunk)
        part.write(chunk)
        report(part.size, answer.note.total)


def _login(token: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest] | None:
    """Puts a token into a request. As a header, requests would let the user's .netrc overrule it."""
    if not token:
        return None

    def add(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return add
