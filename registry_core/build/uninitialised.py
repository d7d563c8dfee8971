"""Build a module without the cost of values that a checkpoint overwrites.

Parameters get real memory that is never initialised: writes to them are dropped while the module is constructed.
Buffers are computed, because no checkpoint holds the non-persistent ones (masks, position indices). The meta device
would leave such buffers empty, and its first random fill imports a compiler, which takes a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from registry_core.errors import BuildError


class _DropParameterWrites(TorchFunctionMode):
    """While this mode is active, in-place operations on the memory of a parameter do nothing.

    A mode belongs to one thread. torch's registration hooks would belong to the process: adding one while another
    thread constructs a module makes that thread fail.
    """

    def __init__(self) -> None:
        super().__init__()
        # The storages are kept alive: the address of a freed storage may be used for a buffer.
        self._owned: dict[int, torch.UntypedStorage] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        target = args[0] if args else kwargs.get("tensor")
        name = getattr(func, "__name__", "")
        # By torch's convention a name with a trailing underscore writes in place, in torch.nn.init and on tensors.
        in_place = name.endswith("_") and not name.endswith("__")
        if isinstance(target, nn.Parameter):
            # Every view of a parameter (`weight[0]`, `weight.data`) comes from an operation on it, which is seen here.
            storage = _storage(target)
            if storage is not None:
                self._owned[storage._cdata] = storage  # noqa: SLF001 - the storage's identity has no public name
        if in_place and name != "requires_grad_" and self._is_parameter_memory(target):
            return target
        return func(*args, **kwargs)

    def _is_parameter_memory(self, target: Any) -> bool:
        if isinstance(target, nn.Parameter):
            return True
        storage = _storage(target) if isinstance(target, torch.Tensor) else None
        return storage is not None and storage._cdata in self._owned  # noqa: SLF001 - as above


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """Return the memory of a tensor, or None for a sparse one or a parameter whose shape is not known yet."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError, ValueError):
        return None


@contextmanager
def without_values() -> Iterator[None]:
    """Leave parameters of modules that are constructed in this context unwritten; compute their buffers."""
    with _DropParameterWrites():
        yield


def build(make: Callable[[], object], *, values: bool, device: str = "cpu") -> nn.Module:
    """Construct a module in evaluation mode.

    Args:
        make: Constructs the module.
        values: Whether parameters are initialised. If not, the caller must write every parameter.
        device: "meta" for a shell that takes no memory, else "cpu". Models are moved when they are complete.

    Raises:
        BuildError: `make` did not return a module.
    """
    if values:
        model = make()
    else:
        with without_values(), torch.device(device) if device == "meta" else nullcontext():
            model = make()
    if not isinstance(model, nn.Module):
        raise BuildError(
            f"build_model returned a {type(model).__name__}, expected a torch.nn.Module.",
            expected="torch.nn.Module",
            found=type(model).__name__,
            advice="The plugin that owns the config must construct and return the model.",
        )
    return model.eval()


class UnwrittenCheck:
    """Checks whether a plugin wrote the parameters that a conversion left to it.

    Args:
        model: The loaded model, before the plugin writes.
        left: Whether a state-dict name is left to the plugin.
    """

    def __init__(self, model: nn.Module, left: Callable[[str], bool]) -> None:
        self._model = model
        self._watched = {
            name: (tensor, tensor.data_ptr(), tensor._version)  # noqa: SLF001 - the count of in-place writes
            for name, tensor in model.state_dict(keep_vars=True).items()
            if left(name)
        }

    def unwritten(self) -> list[str]:
        """Return the names whose memory is unchanged. Parameters that were replaced by others count as written."""
        current = self._model.state_dict(keep_vars=True)
        return [
            name
            for name, (tensor, address, version) in self._watched.items()
            if tensor.data_ptr() == address and tensor._version == version and current.get(name) is tensor  # noqa: SLF001
        ]
