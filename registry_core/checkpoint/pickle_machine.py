"""The machine that a pickle runs on: a stack, a memo, and operations that can call nothing.

pickle_reader.py maps opcodes to these operations and says what makes them safe.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from registry_core.checkpoint.pickle_calls import call
from registry_core.checkpoint.pickle_values import (
    HASH_PERIOD,
    STORAGE_DTYPES,
    Global,
    Inert,
    PickleError,
    ScriptObject,
    StorageRef,
    TensorRef,
    as_key,
)

MARK = object()
_STOP = ord(".")
_STORAGE_MODULES = frozenset({"torch", "torch.storage"})
_STORAGE_PARTS = 5  # of a persistent id: "storage", class, key, location, element count


class PickleMachine:
    """One pickle.

    Args:
        data: The bytes; they may go on after the pickle.
        tensor: Turns a reference into what stands for the tensor in the result.
        start: Where the pickle begins.

    Attributes:
        position: Where the next pickle would begin, after `run`.
        storages: The storages that the pickle mentions, by key.
    """

    def __init__(self, data: bytes, tensor: Callable[[TensorRef], Any], start: int = 0) -> None:
        self.position = start
        self._data = data
        self._tensor = tensor
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRef] = {}
        self._budget = len(data) + (1 << 16)

    def run(self, operations: Mapping[int, Operation]) -> Any:
        """Run the pickle to its end and return the object.

        Args:
            operations: Opcode -> what it does.

        Raises:
            PickleError: The pickle is cut off, damaged, or uses what no checkpoint needs.
        """
        data = self._data
        try:
            while (opcode := data[self.position]) != _STOP:
                self.position += 1
                operations[opcode](self)
            self.position += 1
            return self.stack.pop()
        except PickleError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error) as error:
            raise PickleError(f"{type(error).__name__} at byte {self.position:,}: {error!s:.200}") from error

    # Bytes.

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self._data):
            raise PickleError(f"it needs {count:,} bytes at {self.position:,} and ends at {len(self._data):,}")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> bytes:
        end = self._data.index(b"\n", self.position)
        taken = self._data[self.position : end]
        self.position = end + 1
        return taken

    # The stack.

    def since_mark(self) -> list[Any]:
        stack = self.stack
        index = len(stack) - 1
        while stack[index] is not MARK:
            index -= 1
            if index < 0:
                raise PickleError("a mark is missing")
        items = stack[index + 1 :]
        del stack[index:]
        return items

    def _spend(self, items: int) -> None:
        """Pay for a copy of items. Each took some bytes of the pickle, so a first copy of everything is free."""
        self._budget -= 2 * items
        if self._budget < 0:
            raise PickleError("it copies its contents over and over")

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise PickleError("a value is missing")
        return value

    def top(self) -> Any:
        value = self.stack[-1]
        if value is MARK:
            raise PickleError("a value is missing")
        return value

    # Constants.

    def push_text(self, size: int) -> None:
        # Inline: half of all opcodes of a checkpoint are texts, small numbers and the memo.
        begin = self.position + size
        end = begin + int.from_bytes(self._data[self.position : begin], "little")
        if end > len(self._data):
            raise PickleError(f"a text ends at byte {end:,}, the pickle at {len(self._data):,}")
        self.stack.append(self._data[begin:end].decode("utf-8", "surrogatepass"))
        self.position = end

    def push_old_text(self, size: int) -> None:
        """A string of Python 2, in no stated encoding."""
        raw = self.take(self.number(size))
        try:
            self.stack.append(raw.decode())
        except UnicodeDecodeError:
            self.stack.append(raw.decode("latin-1"))

    def push_int_line(self) -> None:
        line = self.line()
        self.stack.append(line == b"01" if line in {b"00", b"01"} else int(line.rstrip(b"L")))

    def push_quoted_line(self) -> None:
        line = self.line()
        if line[:1] not in {b'"', b"'"} or line[-1:] != line[:1]:
            raise PickleError("a string without quotes")
        self.stack.append(line[1:-1].decode("unicode-escape"))

    # Containers. Only those that were made here are ever filled.

    def append_one(self) -> None:
        self._extend_top([self._pop()])

    def append_many(self) -> None:
        self._extend_top(self.since_mark())

    def _extend_top(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Inert:
            raise PickleError(f"items for a {type(target).__name__}")

    def set_one(self) -> None:
        value = self._pop()
        self._update_top([self._pop(), value])

    def set_many(self) -> None:
        self._update_top(self.since_mark())

    def _update_top(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is dict:
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[as_key(key)] = value
        elif type(target) is not Inert:
            raise PickleError(f"keys for a {type(target).__name__}")

    def make_dict(self) -> None:
        items = self.since_mark()
        self.stack.append({})
        self._update_top(items)

    def make_list(self) -> None:
        self.stack.append(self.since_mark())

    def make_tuple(self) -> None:
        self.stack.append(tuple(self.since_mark()))

    def make_tuple_of_last(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    # The memo.

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def put_short(self) -> None:
        self.memo[self._data[self.position]] = self.top()
        self.position += 1

    def get_short(self) -> None:
        self.stack.append(self.memo[self._data[self.position]])
        self.position += 1

    def push_byte(self) -> None:
        self.stack.append(self._data[self.position])
        self.position += 1

    # Names, and what is applied to arguments: nothing is imported and nothing is called but `CALLS`.

    def push_name_line(self) -> None:
        module, name = self.line().decode(), self.line().decode()
        self.stack.append(Global(module, name))

    def push_name(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise PickleError("a name that is not a text")
        self.stack.append(Global(module, name))

    def apply(self) -> None:
        arguments, function = self._pop(), self._pop()
        self.stack.append(self._called(function, arguments))

    def _called(self, function: Any, arguments: Any) -> Any:
        if type(function) is not Global or type(arguments) is not tuple:
            return Inert("an object without a name")
        result = call(function, arguments, self._spend)
        return self._tensor(result) if type(result) is TensorRef else result

    def make_object(self) -> None:
        self._pop()  # arguments of __new__
        self._instance(self._pop())

    def make_object_with_keywords(self) -> None:
        self._pop()
        self.make_object()

    def make_old_instance(self) -> None:
        self.since_mark()
        self.push_name_line()
        self._instance(self._pop())

    def make_old_object(self) -> None:
        items = self.since_mark()
        self._instance(items[0])

    def _instance(self, kind: Any) -> None:
        name = str(kind) if type(kind) is Global else "an object without a name"
        self.stack.append(ScriptObject(name) if name.startswith("__torch__.") else Inert(name))

    def set_state(self) -> None:
        """State for an object: kept for TorchScript modules, dropped for everything else."""
        state = self._pop()
        target = self.top()
        if type(target) is ScriptObject and type(state) is dict:
            target.attributes = state

    def push_storage(self) -> None:
        """A storage: ("storage", class, key, location, element count[, view])."""
        reference = self._pop()
        # By type first: to compare or hash a deeply nested value would end the process.
        if type(reference) is not tuple or not reference or type(reference[0]) is not str:
            raise PickleError("an unknown persistent id")
        if reference[0] == "module" and len(reference) > 1:  # legacy files: a class, with its source code
            self.stack.append(reference[1])
            return
        if len(reference) < _STORAGE_PARTS:
            raise PickleError("an unknown persistent id")
        what, kind, key, _, count, *view = reference
        if what != "storage" or any(part is not None for part in view):
            raise PickleError("a persistent id that is no storage, or a view of one, as torch wrote before 0.4")
        dtype = STORAGE_DTYPES.get(kind.name) if type(kind) is Global and kind.module in _STORAGE_MODULES else None
        if dtype is None or type(count) is not int or not 0 <= count < HASH_PERIOD or type(key) not in {str, int}:
            raise PickleError("a storage that is not one of torch's")
        storage = StorageRef(str(key), dtype, count)
        self.storages.setdefault(storage.key, storage)
        self.stack.append(storage)

    def refuse(self, what: str) -> None:
        raise PickleError(f"it uses {what}, which no checkpoint needs")


Operation = Callable[[PickleMachine], object]
