"""Damaged and hostile versions of files, of JSON by its structure."""

import json

_WORDS = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"null", b"{}", b"[]", b'""', b"-0", b"true", b",",
    b"\xff\xfe", b'"\\ud800"', b'"\\u0000"', b"[" * 20_000, b'{"a":' * 5_000, b"1" * 320,
    b"18446744073709551616", b"c__builtin__\neval\n", b"h\x00", b"2", b"}", b"R", b"b", b"s", b"t",
)  # fmt: skip
_VALUES = (
    None, True, False, 0, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", "x", "../x",
    "\ud800", "\0", [], {}, [[]], [{}], [None], {"id": 1}, [1, 2], [[1, 2], [3]], "9" * 5000,
)  # fmt: skip


def mutated(rng, content):
    """``content`` (bytes) with some changes; ``rng`` is a ``random.Random``."""
    try:
        value = json.loads(content) if rng.random() < 0.7 else None
    except (ValueError, RecursionError):
        value = None
    if value is None:
        for _ in range(rng.randint(1, 4)):
            content = _changed_bytes(rng, content)
        return content
    for _ in range(rng.randint(1, 3)):
        value = _changed(rng, value)
    return json.dumps(value).encode()


def _changed(rng, value):
    """A JSON value with one part of it changed."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        places = list(value) if isinstance(value, dict) else range(len(value))
        place = rng.choice(places)
        value = value.copy()
        kind = rng.random()
        if kind < 0.1:
            del value[place]
        elif kind < 0.2 and isinstance(value, list):
            value.insert(place, rng.choice(value))
        elif kind < 0.2:
            value[str(rng.choice(_VALUES))[:9]] = value.pop(place)
        else:
            value[place] = _changed(rng, value[place])
        return value
    return rng.choice(_VALUES)


def _changed_bytes(rng, content):
    at = rng.randint(0, len(content))
    to = min(len(content), at + rng.choice((0, 1, 1, 2, 8, 64)))
    kind = rng.random()
    if kind < 0.1:
        return content[:at]
    if kind < 0.2:
        return content[:at] + content[to:]
    if kind < 0.3:
        return content[:to] + content[at:]
    if kind < 0.6:
        return content[:at] + rng.choice(_WORDS) + content[to:]
    return content[:at] + rng.randbytes(to - at) + content[to:]
