"""The state dict of a TorchScript module: what its classes declare as parameters and buffers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from registry_core.checkpoint.index import LazyTensor
from registry_core.checkpoint.pickle_values import PickleError, ScriptObject

_MOST_MODULES = 100_000  # a module that holds another twice, forty deep, would have a trillion
_MOST_DEPTH = 200
_LIST = re.compile(r"__(?:parameters|buffers)__\s*=\s*\[")
_CLASS = re.compile(r"^class ", re.MULTILINE)


def state_dict_of(module: ScriptObject, declared: Mapping[str, frozenset[str]]) -> dict[str, LazyTensor]:
    """Return the tensors of a module and the modules in it, by name.

    Args:
        module: The module, as the pickle describes it.
        declared: Class -> its parameters and buffers. All tensors of a class that is not listed are taken.

    Raises:
        PickleError: The modules are nested or shared beyond any real model.
    """
    found: dict[str, LazyTensor] = {}
    waiting: list[tuple[str, ScriptObject]] = [("", module)]
    visited = 0
    while waiting:
        prefix, current = waiting.pop()
        visited += 1
        if visited > _MOST_MODULES or prefix.count(".") > _MOST_DEPTH:
            raise PickleError("its modules are nested or shared without end")
        names = declared.get(current.class_name)
        inner = []
        for name, value in current.attributes.items():
            if type(name) is str and type(value) is ScriptObject:
                inner.append((f"{prefix}{name}.", value))
            elif type(name) is str and isinstance(value, LazyTensor) and (names is None or name in names):
                found[prefix + name] = value
        waiting.extend(reversed(inner))  # depth first, in the order of the attributes
    return found


def declared_members(sources: Iterable[tuple[str, str]]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each class with the names of its parameters and buffers.

    The source is only searched for those lists. Plain tensor attributes, such as masks, are not part of the state.

    Args:
        sources: Module name and source text, of each file in the archive's `code/`.
    """
    for module, source in sources:
        for part in _CLASS.split(source)[1:]:
            class_name = re.split(r"[(:]", part, maxsplit=1)[0]
            yield f"{module}.{class_name}", frozenset(_listed(part))


def _listed(source: str) -> Iterator[Any]:
    """Yield the quoted names in the lists of a class. Each character is looked at once, whatever the source."""
    position = 0
    while (found := _LIST.search(source, position)) is not None:
        end = source.find("]", found.end())
        if end < 0:
            return
        yield from re.findall(r'"([^"]+)"', source[found.end() : end])
        position = end
