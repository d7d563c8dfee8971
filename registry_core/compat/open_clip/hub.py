"""Uploading models to the Hugging Face hub."""

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
    """Save a model, upload it to a repository on the hub, and return the address of the commit or pull request.

    Args:
        model: A model that the registry created.
        tokenizer: Ignored: the model's own tokenizer is uploaded.
        model_config: Ignored: the model's own config is written.
        repo_id: `org/repo`.
        commit_message: Message of the commit.
        token: Token of the hub; None means that of the user who is logged in.
        revision: The branch.
        private: Make a new repository private.
        create_pr: Open a pull request instead of committing to the branch.
        model_card: Not supported: the registry writes the card, and keeps a README.md of your own.
        safe_serialization: The weights are written as safetensors. False is not supported.

    Raises:
        OverrideError: An argument is not supported.
        RegistryError: As for `registry.push`.
    """
    del tokenizer, model_config
    if model_card or safe_serialization is False:
        raise OverrideError(
            "push_to_hf_hub writes safetensors, and a model card with the facts that the registry knows. model_card= "
            "and safe_serialization=False are not supported. Nothing was uploaded.",
            argument="model_card" if model_card else "safe_serialization",
            found=model_card or safe_serialization,
            advice="Leave them out. Write your own text into the README.md of the repository, which is not "
            "overwritten.",
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
    """Create a model and upload it.

    Args, in addition to those of `create_model_from_pretrained` and `push_to_hf_hub`:
        hf_tokenizer_self: Ignored: tokenizer files in a model's repository always take precedence over its config.

    Raises:
        RegistryError: As for these two functions.
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
