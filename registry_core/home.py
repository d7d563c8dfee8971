"""A name that is a place: a folder or repository where config, weights and perhaps a tokenizer lie together."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from registry_core.weights import Source, Weights


@runtime_checkable
class Home(Protocol):
    """The place that a model name stands for. Making one reads nothing; picklable, since reports hold it.

    Its source of a file says what kind of place it is: a LocalFile of a folder, a HubFile of a repository.
    """

    @property
    def config(self) -> Source:
        """Where the model's config is from."""
        ...

    def file(self, name: str) -> Source:
        """Any other file of the place, such as `tokenizer.json`; whether it exists is found out when it is fetched."""
        ...

    def weights(self) -> Weights:
        """The weights that the name stands for by itself. What they need beyond the config is stated in the config.

        Raises:
            UnknownWeightsError: there are none.
            ConflictError: there are several, and none is the usual one.
        """
        ...
