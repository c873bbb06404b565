"""Times of functions that do the same job, called in turns in one process and on one thread.

The machine may be busy with other things: time is the process's own on the processor, what a round
says of two functions is their ratio, and what is reported is the median over the rounds.
"""

import gc
import statistics
import time
from typing import NamedTuple


class Row(NamedTuple):
    """One line of docs/benchmarks.md; numbers are in ``unit``."""

    what: str
    unit: str
    ours: float
    peer: float | None = None  # measured beside ours
    ratio: float | None = None  # peer's time over ours: above 1 handlib is faster
    goal: str = ""
    met: bool | None = None
    peer_name: str = ""


def in_turns(functions, rounds, calls=1, clock=time.process_time):
    """Seconds of one call, in each round: dict of name -> list; the order changes every round.

    Args:
        functions: dict of name -> function without arguments.
        rounds: how often each has its turn.
        calls: calls in a turn, for those that take less than a millisecond.
        clock: seconds of this process on the processor, unless others' count too.
    """
    times = {name: [] for name in functions}
    for function in functions.values():  # compiles, fills caches
        function()
    names = list(functions)
    gc.collect()
    for number in range(rounds):
        for name in names[:: 1 if number % 2 else -1]:
            start = clock()
            for _ in range(calls):
                functions[name]()
            times[name].append((clock() - start) / calls)
    return times


def compare(times, ours, peer):
    """(median of ours, median of the peer's, median over rounds of peer / ours)."""
    ratios = [p / o for p, o in zip(times[peer], times[ours])]
    return (*(statistics.median(times[n]) for n in (ours, peer)), statistics.median(ratios))
