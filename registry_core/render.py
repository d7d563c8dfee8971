"""Tables that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 10_000  # nothing is cut: a terminal wraps, a pipe wants whole lines


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, name and value; rows without a value are left out."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for name, value in rows:
        if value:
            table.add_row(name, value)
    return _text(table)


def columns(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a line for its headers."""
    from rich import box
    from rich.table import Table

    table = Table(*headers, box=box.SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return _text(table)


def _text(table: Table) -> str:
    from rich.console import Console

    for column in table.columns:
        column.overflow, column.no_wrap = "ignore", True
    stream = StringIO()
    Console(file=stream, width=_WIDTH, markup=False, highlight=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n")
