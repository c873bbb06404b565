"""Names that a user gives: which are known, and which one is near a wrong one."""

import difflib


def hint(given, known):
    """For a message: the known name that is nearest to a wrong one, or all of them."""
    near = difflib.get_close_matches(str(given), map(str, known), n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    between = "; " if any("," in str(name) for name in known) else ", "
    return f"known: {between.join(map(str, known))}"


def require_text(name, text):
    """ValueError, naming it, for a text that a user gave and that is empty."""
    if not text.strip():
        raise ValueError(f"{name} is an empty text: a shell variable that is not set?")


def require_one_of(name, value, known):
    """ValueError, naming the parameter, for a value that is none of the known ones."""
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}; {hint(value, known)}")
