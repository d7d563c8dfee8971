"""A model repository: a local folder or a hub repository that holds config, weights and perhaps a tokenizer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from registry_core.fetch.sources import Source, Weights

# The file names of open_clip's format, which saved models use.
CONFIG_FILENAME = "open_clip_config.json"
WEIGHTS_FILENAME = "open_clip_model.safetensors"


@runtime_checkable
class ModelRepository(Protocol):
    """The folder or repository that a model name refers to.

    Constructing one reads nothing. It must be picklable, because reports hold it. The type of its sources shows which
    kind it is: a LocalFile for a folder, a HubFile for a hub repository.
    """

    @property
    def config(self) -> Source:
        """The source of the model's config."""
        ...

    def file(self, name: str) -> Source:
        """Return the source of another file, such as `tokenizer.json`. Whether it exists is known after fetching it."""
        ...

    def weights(self) -> Weights:
        """Return the weights of the repository. `stated` holds the config keys that they need beyond the config.

        Raises:
            UnknownWeightsError: There are no weights.
            ConflictError: There are several weight files, and none has the usual name.
        """
        ...
