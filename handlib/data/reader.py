"""What all readers of a dataset's split share."""

import numpy as np

from handlib.data.sample import row_of
from handlib.data.usable import find_unusable, listed
from handlib.paths import user_path


class SplitReader:
    """One split of a dataset, as samples.

    Attributes:
        source: name for figures and tables. ids: (N,) one for each sample. left_out: how many
        samples were, because they cannot be used.

    Raises:
        ValueError: an unknown split.
    """

    splits, source, ids, left_out = (), "", (), 0
    per_sample = ("ids",)  # names of the arrays with a row for each sample

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
            **({"left out": self.left_out} if self.left_out else {}),
        }

    def leave_out_unusable(self):
        """Drop the samples that cannot be read, and print which; reads all of them."""
        bad = find_unusable(self)
        if bad:
            print(listed(list(bad.values()), len(self), self.root))
            self._keep(np.delete(np.arange(len(self)), list(bad)))
        self.left_out = len(bad)

    def thin_out(self, n):
        """Keep ``n`` samples, drawn at random and the same in every run, or all that there are;
        ValueError for none."""
        if n < 1:
            raise ValueError(f"at least 1 sample of {self.split!r} has to stay, got {n}")
        if n < len(self):
            drawn = np.random.default_rng(0).choice(len(self), n, replace=False)
            self._keep(np.sort(drawn))

    def _keep(self, rows):
        for name in self.per_sample:
            setattr(self, name, np.asarray(getattr(self, name))[rows])

    def row(self, index):
        """See ``sample.row_of``."""
        return row_of(index, len(self))
