"""What all readers of a dataset's split share."""

from handlib.paths import user_path


class SplitReader:
    """One split of a dataset, as samples.

    Attributes:
        source: name for figures and tables. ids: (N,) one for each sample.

    Raises:
        ValueError: an unknown split.
    """

    splits, source, ids = (), "", ()

    def __init__(self, root, split):
        if split not in self.splits:
            of, known = f" of {self.source}" if self.source else "", ", ".join(self.splits)
            raise ValueError(f"unknown split {split!r}{of}; known: {known}")
        self.root = user_path(root).resolve()
        self.split = split

    def __len__(self):
        return len(self.ids)

    def __repr__(self):
        name = type(self).__name__
        return f"{name}({str(self.root)!r}, {self.split!r}): {len(self)} samples"

    def describe(self):
        """What this is, for a table: dict of plain values."""
        return {
            "source": self.source,
            "root": str(self.root),
            "split": self.split,
            "samples": len(self),
        }

    def row(self, index):
        """``index``, which may count from the end, as 0 to N - 1; IndexError beyond."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return int(index) % len(self)
