"""Push a model to the Hugging Face hub: the files that `save` writes, as one commit.

With a single commit, the config, weights and card in the repository belong to the same model at every moment.
https://huggingface.co/docs/huggingface_hub/guides/upload
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import urlsplit

from registry_core._version import __version__
from registry_core.arguments import text_of
from registry_core.errors import BuildError, FetchError, OfflineError, OverrideError
from registry_core.export.model_card import CARD_FILENAME, is_ours
from registry_core.export.save import save_model
from registry_core.fetch.settings import Settings
from registry_core.path_safety import is_repository, is_revision

if TYPE_CHECKING:
    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.resolve.services import Services

# HTTP status -> what it means, and what to do.
_STATUSES = {
    400: ("The hub rejected the request as invalid.", ""),
    401: ("The hub requires a login.", "Give token=, set HF_TOKEN or run `hf auth login`."),
    403: ("The token has no write access.", "Use one with write access to the repository or its organisation."),
    404: ("The repository or branch does not exist, or the token has no access to it.", ""),
    409: ("Another client is changing the repository.", "Try again."),
    412: ("Another client changed the repository in the meantime.", "Try again."),
    429: ("The hub received too many requests.", "Try again later."),
}
_UNREACHED = ("", "Check the network and HF_ENDPOINT, and try again.")


class PushOptions(TypedDict, total=False):
    """How to push.

    Attributes:
        revision: An existing branch; None means the main one.
        private: Make a new repository private. False leaves it to the organisation, whose default is usually public.
        create_pr: Propose the commit as a pull request.
        commit_message: Message of the commit.
        token: Token of the user; None means HF_TOKEN, or the token of a login.
    """

    revision: str | None
    private: bool
    create_pr: bool
    commit_message: str | None
    token: str | None


def push_model(
    services: Services, model: nn.Module, report: LoadReport, repo: str, **options: Unpack[PushOptions]
) -> str:
    """Save a model into a temporary folder and commit its files. Returns the URL of the commit or pull request.

    A README.md of the repository that a person wrote or changed stays as it is. HF_ENDPOINT and HF_TOKEN are honoured;
    mirrors are not, since they are for reading.

    Raises:
        OverrideError: `repo` or `revision` cannot be a name on the hub.
        OfflineError: The network is forbidden.
        BuildError: huggingface_hub is not installed, the model is an empty shell, or its shapes were changed.
        FetchError: The hub refuses, or cannot be reached.
    """
    _check_options(options)
    _check_names(repo, options.get("revision"))
    settings = Settings.load()
    if settings.offline:
        raise OfflineError(
            f"{report.name} was not pushed to {repo}: {settings.offline} forbids the network. Nothing was sent.",
            name=repo,
            variable=settings.offline,
            advice="registry.save writes the same files into a folder.",
        )
    _check_endpoint(settings.endpoint)
    api = _api(settings, options.get("token"))
    with tempfile.TemporaryDirectory(prefix="registry_core-") as temporary:
        folder = Path(temporary, "model")
        save_model(services, model, report, folder, repo)
        return _commit(api, repo, report.name, folder, options)


def _check_options(options: Mapping[str, object]) -> None:
    """Check the names of the options, as Python does for a function that lists its arguments.

    Raises:
        TypeError: There is no such option. A misspelt `revision` must not push to the main branch.
    """
    unknown = [name for name in options if name not in PushOptions.__annotations__]
    if unknown:
        raise TypeError(f"push() got an unexpected keyword argument {unknown[0]!r}")


def _check_names(repo: str, revision: str | None) -> None:
    if not is_repository(text_of("repo", repo)) or "--" in repo or repo.endswith(".git"):
        raise OverrideError(
            f"{repo!r} is not a repository of the hub. Expected organisation/name, of letters, digits, '-', '_' "
            "and '.'. Nothing was sent.",
            argument="repo",
            expected="organisation/name",
            found=repo,
        )
    if revision is not None and not is_revision(revision):
        raise OverrideError(
            f"{revision!r} is not a valid branch name. Nothing was sent.",
            argument="revision",
            expected="a branch name",
            found=revision,
        )


def _check_endpoint(endpoint: str) -> None:
    """Check HF_ENDPOINT: huggingface_hub cannot even be imported while it is malformed.

    Raises:
        FetchError: HF_ENDPOINT is not an http address.
    """
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise FetchError(
            f"HF_ENDPOINT is {endpoint!r}, expected an address such as https://huggingface.co. Nothing was sent.",
            name="HF_ENDPOINT",
            expected="an address such as https://huggingface.co",
            found=endpoint,
            url=endpoint,
            advice="Correct or unset the variable.",
        )


def _api(settings: Settings, token: str | None) -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise BuildError(
            f"Pushing to the hub needs the package huggingface_hub ({error}). Nothing was sent.",
            name="huggingface_hub",
            found=str(error),
            advice="Install it: pip install 'registry_core[push]'.",
        ) from error
    # The endpoint is passed, since huggingface_hub reads HF_ENDPOINT only once, when it is imported.
    return HfApi(settings.endpoint, token=token, library_name="registry_core", library_version=__version__)


def _commit(api: Any, repo: str, name: str, folder: Path, options: PushOptions) -> str:
    from huggingface_hub import CommitOperationAdd

    url = f"{api.endpoint}/{repo}"
    failure = f"{name} was not pushed to {repo} at {api.endpoint}"
    revision = options.get("revision")
    with _hub_errors(url, f"{failure}: the repository could not be created", "Nothing was sent."):
        # None, not False, which would make the repository public in an organisation whose default is private.
        api.create_repo(repo, private=options.get("private") or None, exist_ok=True)
    with _hub_errors(url, f"{failure}: it could not be read", f"The repository {url} exists and was not changed."):
        info = api.repo_info(repo, revision=revision)
        keep_card = _has_foreign_card(api, repo, info, folder.parent)
    files = [path for path in sorted(folder.iterdir()) if not (keep_card and path.name == CARD_FILENAME)]
    outcome = f"No commit is known to have been made; {url}/commits/{revision or 'main'} lists all commits."
    with _hub_errors(url, f"{failure}: the files were not accepted", outcome):
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(path.name, path) for path in files],
            commit_message=options.get("commit_message") or f"Upload {name} with registry_core",
            revision=revision,
            create_pr=options.get("create_pr", False),
            parent_commit=info.sha,  # fails if another commit was made since the repository was read above
        )
    return str(commit.pr_url or commit.commit_url)


def _has_foreign_card(api: Any, repo: str, info: Any, folder: Path) -> bool:
    """Whether the repository has a model card that a person wrote or changed."""
    if CARD_FILENAME not in {file.rfilename for file in info.siblings or ()}:
        return False
    path = api.hf_hub_download(repo, CARD_FILENAME, revision=info.sha, local_dir=folder / "there")
    return not is_ours(Path(path).read_bytes().decode("utf-8", "replace"))


@contextmanager
def _hub_errors(url: str, failure: str, outcome: str) -> Iterator[None]:
    """Turn errors of huggingface_hub into a FetchError.

    Args:
        url: Address of the repository.
        failure: What failed, for the message.
        outcome: What was done or not done, for the message.

    Raises:
        FetchError: The hub refused the request, or could not be reached.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # The HTTP library differs between releases of huggingface_hub. The base of its error is that library's error.
    expected = (*HfHubHTTPError.__bases__, OSError, ValueError, RuntimeError, LookupError)
    try:
        yield
    except expected as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else None  # an upload that failed in a thread
        reason = cause or error
        status: int | None = getattr(getattr(reason, "response", None), "status_code", None)
        unreached = isinstance(reason, HfHubHTTPError.__bases__) and status is None
        meaning, advice = _UNREACHED if unreached else _STATUSES.get(status or 0, ("", ""))
        detail = " ".join(str(reason).split()) or type(reason).__name__
        message = " ".join(filter(None, (f"{failure}.", meaning, outcome, advice)))
        failed = FetchError(f"{message}\n  {detail}", url=url, found=detail)
        failed.advice, failed.status = advice, status  # the advice is in the message, before the hub's own text
        raise failed from error
