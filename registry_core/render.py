"""Text tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_GAP = "   "
_WIDTH = 10_000  # no line is cut: a terminal wraps long lines, and a pipe needs them whole


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of two columns, name and value. Rows with an empty value are left out."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for name, value in rows:
        if value:
            table.add_row(name, value)
    return _text(table)


def columns(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with a line of headers, in the style of rich.

    The layout is computed here, because rich takes seconds for a list of thousands of models.
    """
    from rich.cells import cell_len

    table = [[cell.split("\n") for cell in row] for row in (headers, *rows)]
    widths = [max(cell_len(line) for row in table for line in row[column]) for column in range(len(headers))]
    lines = []
    for row in table:
        for parts in zip_longest(*row, fillvalue=""):
            cells = (part + " " * (width - cell_len(part)) for part, width in zip(parts, widths, strict=True))
            lines.append(f" {_GAP.join(cells)}".rstrip())
    rule = f" {'─' * (sum(widths) + len(_GAP) * (len(widths) - 1))}"
    return "\n".join([*lines[: _height(table[0])], rule, *lines[_height(table[0]) :]])


def printable(text: str) -> str:
    """Return a text whose control characters and lone surrogates are escaped; line breaks stay.

    Names of tensors and answers of servers come from outside, and a terminal obeys what they contain.
    """
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


def _height(row: Sequence[Sequence[str]]) -> int:
    return max(map(len, row))


def _text(table: Table) -> str:
    from rich.console import Console

    for column in table.columns:
        column.overflow, column.no_wrap = "ignore", True
    stream = StringIO()
    Console(file=stream, width=_WIDTH, color_system=None, markup=False, highlight=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n")
