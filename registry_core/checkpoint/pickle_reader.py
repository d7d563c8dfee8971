"""Reads a pickle as data: a small interpreter of pickle's opcodes that can call nothing.

No class or function that a pickle names is imported. `GLOBAL` and its relatives only push the name. What is applied to
arguments (`REDUCE`, `NEWOBJ`, ...) goes through one table, `pickle_calls.CALLS`, of functions that build references and
plain containers; any other name gives an Inert object. So there is no way from a pickle to code.

Sizes in the pickle are compared with the bytes that are left before memory is taken. Nothing recurses, and copies are
paid from a budget in proportion to the pickle's length, so that neither depth nor sharing costs more than the file.

https://docs.python.org/3/library/pickletools.html lists the opcodes.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

from registry_core.checkpoint.pickle_machine import MARK, Operation, PickleMachine
from registry_core.checkpoint.pickle_values import PickleError, StorageRef, TensorRef

__all__ = ["PickleError", "read_pickle"]


def _whole(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


_R = PickleMachine
_OPCODES: dict[int, Operation] = {
    code[0]: run
    for code, run in {
        pickle.PROTO: lambda r: r.take(1),
        pickle.FRAME: lambda r: r.take(8),
        pickle.MARK: lambda r: r.stack.append(MARK),
        pickle.POP: lambda r: r.stack.pop(),
        pickle.POP_MARK: lambda r: r.since_mark(),
        pickle.DUP: lambda r: r.stack.append(r.top()),
        pickle.NONE: lambda r: r.stack.append(None),
        pickle.NEWTRUE: lambda r: r.stack.append(True),
        pickle.NEWFALSE: lambda r: r.stack.append(False),
        pickle.INT: _R.push_int_line,
        pickle.LONG: _R.push_int_line,
        pickle.FLOAT: lambda r: r.stack.append(float(r.line())),
        pickle.BININT: lambda r: r.stack.append(_whole(r.take(4))),
        pickle.BININT1: _R.push_byte,
        pickle.BININT2: lambda r: r.stack.append(r.number(2)),
        pickle.LONG1: lambda r: r.stack.append(_whole(r.take(r.number(1)))),
        pickle.LONG4: lambda r: r.stack.append(_whole(r.take(r.number(4)))),
        pickle.BINFLOAT: lambda r: r.stack.append(struct.unpack(">d", r.take(8))[0]),
        pickle.STRING: _R.push_quoted_line,
        pickle.BINSTRING: lambda r: r.push_old_text(4),
        pickle.SHORT_BINSTRING: lambda r: r.push_old_text(1),
        pickle.UNICODE: lambda r: r.stack.append(r.line().decode("raw-unicode-escape")),
        pickle.SHORT_BINUNICODE: lambda r: r.push_text(1),
        pickle.BINUNICODE: lambda r: r.push_text(4),
        pickle.BINUNICODE8: lambda r: r.push_text(8),
        pickle.SHORT_BINBYTES: lambda r: r.stack.append(r.take(r.number(1))),
        pickle.BINBYTES: lambda r: r.stack.append(r.take(r.number(4))),
        pickle.BINBYTES8: lambda r: r.stack.append(r.take(r.number(8))),
        pickle.BYTEARRAY8: lambda r: r.stack.append(r.take(r.number(8))),
        pickle.EMPTY_LIST: lambda r: r.stack.append([]),
        pickle.EMPTY_DICT: lambda r: r.stack.append({}),
        pickle.EMPTY_SET: lambda r: r.stack.append([]),  # a set becomes a list: its items need not be hashed
        pickle.EMPTY_TUPLE: lambda r: r.stack.append(()),
        pickle.APPEND: _R.append_one,
        pickle.APPENDS: _R.append_many,
        pickle.ADDITEMS: _R.append_many,
        pickle.SETITEM: _R.set_one,
        pickle.SETITEMS: _R.set_many,
        pickle.DICT: _R.make_dict,
        pickle.LIST: _R.make_list,
        pickle.FROZENSET: _R.make_list,
        pickle.TUPLE: _R.make_tuple,
        pickle.TUPLE1: lambda r: r.make_tuple_of_last(1),
        pickle.TUPLE2: lambda r: r.make_tuple_of_last(2),
        pickle.TUPLE3: lambda r: r.make_tuple_of_last(3),
        pickle.PUT: lambda r: r.put(int(r.line())),
        pickle.BINPUT: _R.put_short,
        pickle.LONG_BINPUT: lambda r: r.put(r.number(4)),
        pickle.MEMOIZE: lambda r: r.put(len(r.memo)),
        pickle.GET: lambda r: r.get(int(r.line())),
        pickle.BINGET: _R.get_short,
        pickle.LONG_BINGET: lambda r: r.get(r.number(4)),
        pickle.GLOBAL: _R.push_name_line,
        pickle.STACK_GLOBAL: _R.push_name,
        pickle.REDUCE: _R.apply,
        pickle.NEWOBJ: _R.make_object,
        pickle.NEWOBJ_EX: _R.make_object_with_keywords,
        pickle.INST: _R.make_old_instance,
        pickle.OBJ: _R.make_old_object,
        pickle.BUILD: _R.set_state,
        pickle.BINPERSID: _R.push_storage,
        pickle.PERSID: lambda r: r.refuse("persistent ids as text"),
        pickle.EXT1: lambda r: r.refuse("extension codes"),
        pickle.EXT2: lambda r: r.refuse("extension codes"),
        pickle.EXT4: lambda r: r.refuse("extension codes"),
        pickle.NEXT_BUFFER: lambda r: r.refuse("buffers outside of the pickle"),
        pickle.READONLY_BUFFER: lambda r: r.refuse("buffers outside of the pickle"),
    }.items()
}


def read_pickle(
    data: bytes, tensor: Callable[[TensorRef], Any], start: int = 0
) -> tuple[Any, int, dict[str, StorageRef]]:
    """Read one pickle as data.

    Args:
        data: The bytes; they may go on after the pickle.
        tensor: Turns a reference into what stands for the tensor in the result.
        start: Where the pickle begins.

    Returns:
        The object, where the next pickle would begin, and the storages that the pickle mentions, by key.

    Raises:
        PickleError: The pickle is cut off, damaged, or uses what no checkpoint needs.
    """
    machine = PickleMachine(data, tensor, start)
    return machine.run(_OPCODES), machine.position, machine.storages
