"""Models onto the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry_core import OverrideError, registry
from registry_core.compat.open_clip.factory import create_model_from_pretrained

if TYPE_CHECKING:
    from torch import nn

__all__ = ["push_pretrained_to_hf_hub", "push_to_hf_hub"]


def push_to_hf_hub(
    model: nn.Module,
    tokenizer: object,
    model_config: Mapping[str, Any] | None,
    repo_id: str,
    commit_message: str = "Add model",
    token: str | None = None,
    revision: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    model_card: Mapping[str, Any] | None = None,
    safe_serialization: bool | str = "both",
) -> str:
    """Save a model and send it to a repository of the hub; the address of what came of it.

    Args:
        model: that the registry made.
        tokenizer: not needed: the model's own goes along.
        model_config: not needed: the model's own is written.
        repo_id: `org/repo`.
        commit_message: of the commit.
        token: of the hub; None means the one that is logged in.
        revision: the branch.
        private: of a repository that is made.
        create_pr: open a pull request instead of a commit.
        model_card: not taken: the card holds what the registry knows, and a README.md of your own is left alone.
        safe_serialization: safetensors are written; False is refused.

    Raises:
        OverrideError: an argument that is not taken.
        RegistryError: what `registry.push` raises.
    """
    del tokenizer, model_config
    if model_card or safe_serialization is False:
        raise OverrideError(
            "push_to_hf_hub writes safetensors and a model card of what the registry knows; model_card= and "
            "safe_serialization=False are not taken. Nothing was sent. Leave them out, and put what you want to say "
            "into the repository's README.md, which is left alone then."
        )
    return registry.push(
        model,
        repo_id,
        revision=revision,
        private=private,
        create_pr=create_pr,
        commit_message=commit_message,
        token=token,
    )


def push_pretrained_to_hf_hub(
    model_name: str,
    pretrained: str,
    repo_id: str,
    precision: str = "fp32",
    image_mean: tuple[float, ...] | None = None,
    image_std: tuple[float, ...] | None = None,
    image_interpolation: str | None = None,
    image_resize_mode: str | None = None,
    commit_message: str = "Add model",
    token: str | None = None,
    revision: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    model_card: Mapping[str, Any] | None = None,
    hf_tokenizer_self: bool = False,
    **kwargs: Any,
) -> str:
    """Create a model and push it.

    Args, beside those of `create_model_from_pretrained` and `push_to_hf_hub`:
        hf_tokenizer_self: not needed: tokenizer files that go along are found beside the model first.

    Raises:
        RegistryError: what those two raise.
    """
    del hf_tokenizer_self
    model = create_model_from_pretrained(
        model_name,
        pretrained,
        precision,
        image_mean=image_mean,
        image_std=image_std,
        image_interpolation=image_interpolation,
        image_resize_mode=image_resize_mode,
        return_transform=False,
        **kwargs,
    )
    assert not isinstance(model, tuple)
    return push_to_hf_hub(model, None, None, repo_id, commit_message, token, revision, private, create_pr, model_card)
