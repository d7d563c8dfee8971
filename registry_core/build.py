"""Builds a module without paying for values that a checkpoint overwrites.

Parameters are real, uninitialised memory, which the system hands out untouched; writes to them are dropped while the
module is constructed. Buffers are computed, since no checkpoint holds the non-persistent ones (masks, position
indices). The meta device would leave those empty, and its first random fill imports a second's worth of compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from registry_core.errors import BuildError


class _DropParameterWrites(TorchFunctionMode):
    """In-place operations on a parameter's memory do nothing."""

    def __init__(self) -> None:
        super().__init__()
        # Held, not only remembered: the address of a storage that is gone may become a buffer's.
        self.owned: dict[int, torch.UntypedStorage] = {}

    def own(self, module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        """Remember a parameter's storage, so that views of it (`weight.data[...]`) are known too."""
        del module, name
        if parameter is not None:
            storage = parameter.untyped_storage()
            self.owned[storage._cdata] = storage  # noqa: SLF001 - the storage's identity has no public name

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        target = args[0] if args else kwargs.get("tensor")
        name = getattr(func, "__name__", "")
        # torch's convention: a trailing underscore writes in place, in torch.nn.init as on tensors.
        in_place = name.endswith("_") and not name.endswith("__")
        if in_place and name != "requires_grad_" and self._is_parameter_memory(target):
            return target
        return func(*args, **kwargs)

    def _is_parameter_memory(self, target: Any) -> bool:
        if isinstance(target, nn.Parameter):
            return True
        return isinstance(target, torch.Tensor) and target.untyped_storage()._cdata in self.owned  # noqa: SLF001


@contextmanager
def without_values() -> Iterator[None]:
    """Inside, constructed modules have unwritten parameters and right buffers."""
    mode = _DropParameterWrites()
    handle = register_module_parameter_registration_hook(mode.own)
    try:
        with mode:
            yield
    finally:
        handle.remove()


def build(make: Callable[[], object], *, values: bool, device: str = "cpu") -> nn.Module:
    """Construct a module in evaluation mode.

    Args:
        make: constructs it.
        values: whether parameters are initialised; without, whoever asks must write every one of them.
        device: "meta" for a shell that takes no memory, else "cpu": models are moved when they are complete.

    Raises:
        BuildError: `make` gave no module.
    """
    if values:
        model = make()
    else:
        with without_values(), torch.device(device) if device == "meta" else nullcontext():
            model = make()
    if not isinstance(model, nn.Module):
        raise BuildError(
            f"build_model returned a {type(model).__name__}, expected a torch.nn.Module. "
            "The plugin that owns the config must construct and return the model."
        )
    return model.eval()


class UnwrittenCheck:
    """Watches parameters that a plugin promised to write after loading.

    Args:
        model: the loaded model.
        left: tells of a state-dict name whether it is left to the plugin.
    """

    def __init__(self, model: nn.Module, left: Callable[[str], bool]) -> None:
        self._model = model
        self._watched = {
            name: (tensor, tensor.data_ptr(), tensor._version)  # noqa: SLF001 - counts in-place writes
            for name, tensor in model.state_dict(keep_vars=True).items()
            if left(name)
        }

    def unwritten(self) -> list[str]:
        """Names whose memory is still as it was. A parameter that was exchanged for another is none of them."""
        held = self._model.state_dict(keep_vars=True)
        return [
            name
            for name, (tensor, address, version) in self._watched.items()
            if tensor.data_ptr() == address and tensor._version == version and held.get(name) is tensor  # noqa: SLF001
        ]
