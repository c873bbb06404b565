"""Tables of results: aligned text in a terminal, Markdown in a notebook."""

import html
import math
import re


class Table:
    """Lines of strings, the first of them the header; the first column names the others.

    ``str(table)`` is aligned text; a notebook shows it as a table.
    """

    def __init__(self, lines, caption=""):
        self.lines, self.caption = [list(line) for line in lines], caption

    def __str__(self):
        widths = [max(map(len, column)) for column in zip(*self.lines, strict=True)]
        text = [_justified(line, widths) for line in self.lines]
        rule = "-" * max(map(len, text))
        return "\n".join([*([self.caption] if self.caption else []), text[0], rule, *text[1:]])

    __repr__ = __str__

    def _repr_markdown_(self):
        lines = [[_escaped(cell) for cell in line] for line in self.lines]
        lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{_escaped(self.caption)}\n\n{table}" if self.caption else table


def results_table(results, caption="", metrics_down=False):
    """A table of results, one row for each name.

    Args:
        results: dict of name -> dict of metric -> number, string or None (shown as a dash).
        caption: say which hand model and which data.
        metrics_down: one row for each metric instead, and a column for each name.
    """
    metrics = dict.fromkeys(metric for row in results.values() for metric in row)
    columns = [[m, *_texts([row.get(m) for row in results.values()])] for m in metrics]
    lines = [["", *results], *columns]
    return Table(lines if metrics_down else zip(*lines, strict=True), caption)


def _texts(values):
    """Values of one metric as strings with the same number of decimals."""
    largest = max((abs(v) for v in values if isinstance(v, float) and math.isfinite(v)), default=0)
    decimals = 3 if largest < 2 else 2
    return [
        "–" if v is None else f"{v:.{decimals}f}" if isinstance(v, float) else str(v)
        for v in values
    ]


def _justified(line, widths):
    numbers = (cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))
    return "  ".join([line[0].ljust(widths[0]), *numbers]).rstrip()


# What Markdown would take for a link, for emphasis (of _ at the edge of a word) or for code.
_MARKS = re.compile(r"[\[*`]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def _escaped(text):
    escaped = html.escape(text, quote=False)
    # No link, which could run something, and names as they are.
    escaped = _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", escaped)
    return escaped.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
