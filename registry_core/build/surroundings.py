"""Build and load under torch's usual defaults, whatever the caller's program has set.

A model is what `create` was asked for. Without this, it would be empty inside `torch.device("meta")`, hold float64
under `torch.set_default_dtype`, and have parameters that never train inside `torch.inference_mode`.

All of it is local to the thread: `torch.set_default_dtype` changes the whole process, so it is not called here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DTYPE = torch.float32

# What these return is of the default dtype unless they are told another one.
_FACTORIES = frozenset({
    "empty", "zeros", "ones", "rand", "randn", "eye", "linspace", "logspace", "scalar_tensor", "empty_strided",
    "empty_permuted", "bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window",
    "fft_fftfreq", "fft_rfftfreq",
})  # fmt: skip

# These are asked for a dtype by their name, or by a name in an argument.
_CASTS = frozenset({"double", "half", "bfloat16", "type"})


class _UsualDtype(TorchFunctionMode):
    """While this mode is active, a floating-point dtype that nobody asked for is float32."""

    def __init__(self, ambient: torch.dtype) -> None:
        super().__init__()
        self._ambient = ambient

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _FACTORIES and kwargs.get("dtype") is None and kwargs.get("out") is None:
            return func(*args, **kwargs | {"dtype": _DTYPE})
        result = func(*args, **kwargs)
        if not isinstance(result, torch.Tensor) or result.dtype != self._ambient or name in _CASTS:
            return result
        # The values of full(), tensor() and a division of integers have no dtype of their own.
        return result if self._is_asked_for((*args, *kwargs.values())) else result.to(_DTYPE)

    def _is_asked_for(self, arguments: Iterable[Any]) -> bool:
        for argument in arguments:
            if isinstance(argument, list | tuple):
                found = self._is_asked_for(argument)
            else:
                found = argument is self._ambient or getattr(argument, "dtype", None) is self._ambient
            if found or hasattr(argument, "__array_interface__"):  # an array of numpy brings its dtype along
                return True
        return False


@contextmanager
def usual_surroundings() -> Iterator[None]:
    """Give code in this context the defaults of a fresh process: CPU, float32, gradients, no autocast.

    Contexts of the caller apply again at its end. Works as a decorator too.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        default = torch.empty(0)
        # Each of these two slows every operation a little, so they are entered only where they change something.
        if default.device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if default.dtype is not _DTYPE:
            stack.enter_context(_UsualDtype(default.dtype))
        yield
