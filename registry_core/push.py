"""A model onto the Hugging Face hub: the folder that `save` writes, as one commit.

One commit and not several: at every moment the repository's config, weights and card are of one model.
https://huggingface.co/docs/huggingface_hub/guides/upload
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from registry_core.arguments import text_of
from registry_core.checkpoint.card import CARD_FILENAME, is_ours
from registry_core.checkpoint.save import save_model
from registry_core.errors import BuildError, FetchError, OfflineError, OverrideError
from registry_core.fetch.settings import Settings
from registry_core.safe_names import is_repository, is_revision

if TYPE_CHECKING:
    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.services import Services

_ADVICE = {
    400: "The hub does not take what was sent.",
    401: "The hub wants a login: give token=, set HF_TOKEN or run `hf auth login`.",
    403: "The token may not write there: it needs write access to the repository or its organisation.",
    404: "There is no such repository or branch, or the token does not see it.",
    409: "Somebody else is at the repository; try again.",
    412: "Somebody else changed the repository meanwhile; try again.",
    429: "The hub has had too many requests; try again later.",
}
_NETWORK = "Check the network and HF_ENDPOINT, and try again."


@dataclass(frozen=True, slots=True)
class Push:
    """Where to, and how.

    Attributes:
        repo: `org/name`.
        revision: an existing branch; None means the main one.
        private: of a repository that is made; otherwise its organisation's default holds.
        create_pr: propose the commit as a pull request.
        message: of the commit.
        token: of the user; None takes that of the environment or of a login.
    """

    repo: str
    revision: str | None = None
    private: bool = False
    create_pr: bool = False
    message: str | None = None
    token: str | None = field(default=None, repr=False)

    def checked(self) -> Push:
        """The push, if its names can be names on the hub.

        Raises:
            OverrideError: they cannot.
        """
        if not is_repository(text_of("repo", self.repo)) or "--" in self.repo or self.repo.endswith(".git"):
            raise OverrideError(
                f"{self.repo!r} is no repository of the hub. Expected organisation/name, of letters, digits, '-', '_' "
                "and '.'. Nothing was sent."
            )
        if self.revision is not None and not is_revision(self.revision):
            raise OverrideError(f"{self.revision!r} is no branch of a repository. Nothing was sent.")
        return self


def push_model(services: Services, model: nn.Module, report: LoadReport, push: Push) -> str:
    """Save a model into a temporary folder and commit its files. Returns the URL of the commit or pull request.

    Raises:
        OverrideError: a name that cannot be one.
        OfflineError: the network is forbidden.
        BuildError: huggingface_hub is not installed, or the model is an empty shell or was given other shapes.
        FetchError: the hub refuses, or cannot be reached.
    """
    push, settings = push.checked(), Settings.load()
    if settings.offline:
        raise OfflineError(
            f"{report.name} was not pushed to {push.repo}: {settings.offline} forbids the network. Nothing was sent. "
            "registry.save writes the same files into a folder."
        )
    _check_endpoint(settings.endpoint)
    api = _api(settings, push.token)
    with tempfile.TemporaryDirectory(prefix="registry_core-") as temporary:
        folder = Path(temporary, "model")
        save_model(services, model, report, folder, push.repo)
        return _commit(api, push, report.name, folder)


def _check_endpoint(endpoint: str) -> None:
    """huggingface_hub cannot even be imported while HF_ENDPOINT is malformed."""
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits:
        raise FetchError(
            f"HF_ENDPOINT is {endpoint!r}, expected an address such as https://huggingface.co. Nothing was sent. "
            "Correct or unset the variable."
        )


def _api(settings: Settings, token: str | None) -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise BuildError(
            f"Pushing to the hub needs the package huggingface_hub ({error}). Nothing was sent. Install it: "
            "pip install 'registry_core[push]'."
        ) from error
    from registry_core import __version__

    # The endpoint is given: huggingface_hub reads HF_ENDPOINT once, when it is imported.
    return HfApi(settings.endpoint, token=token, library_name="registry_core", library_version=__version__)


def _commit(api: Any, push: Push, name: str, folder: Path) -> str:
    from huggingface_hub import CommitOperationAdd

    what, url = f"{name} was not pushed to {push.repo} at {api.endpoint}", f"{api.endpoint}/{push.repo}"
    with _explained(f"{what}: the repository could not be made", "Nothing was sent."):
        # Not False: that would make a repository public whose organisation wants its own private.
        api.create_repo(push.repo, private=push.private or None, exist_ok=True)
    with _explained(f"{what}: it could not be looked at", f"The repository {url} is there and was not changed."):
        now = api.repo_info(push.repo, revision=push.revision)
        keep = _foreign_card(api, push, now, folder.parent)
    files = [path for path in sorted(folder.iterdir()) if not (keep and path.name == CARD_FILENAME)]
    unsure = f"No commit is known to have been made; if in doubt, look at {url}/commits/{push.revision or 'main'}."
    with _explained(f"{what}: the files were not taken", unsure):
        done = api.create_commit(
            push.repo,
            [CommitOperationAdd(path.name, path) for path in files],
            commit_message=push.message or f"Upload {name} with registry_core",
            revision=push.revision,
            create_pr=push.create_pr,
            parent_commit=now.sha,  # so that what was looked at is what is committed to
        )
    return str(done.pr_url or done.commit_url)


def _foreign_card(api: Any, push: Push, now: Any, folder: Path) -> bool:
    """Whether the repository has a card that a person wrote or changed."""
    if CARD_FILENAME not in {file.rfilename for file in now.siblings or ()}:
        return False
    path = api.hf_hub_download(push.repo, CARD_FILENAME, revision=now.sha, local_dir=folder / "there")
    return not is_ours(Path(path).read_bytes().decode("utf-8", "replace"))


@contextmanager
def _explained(what: str, state: str) -> Iterator[None]:
    """Errors of huggingface_hub as ours; `state` says what they leave behind."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its releases use different libraries for HTTP, whose common base is the base of its own error.
    expected = (*HfHubHTTPError.__bases__, OSError, ValueError, RuntimeError, LookupError)
    try:
        yield
    except expected as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else None  # of an upload that failed in a thread
        reason = cause or error
        status: int | None = getattr(getattr(reason, "response", None), "status_code", None)
        unreached = isinstance(reason, HfHubHTTPError.__bases__) and status is None
        advice = _NETWORK if unreached else _ADVICE.get(status or 0, "")
        said = " ".join(str(reason).split()) or type(reason).__name__
        raise FetchError(f"{' '.join(filter(None, (f'{what}.', advice, state)))}\n  {said}") from error
