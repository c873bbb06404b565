"""Packages whose names are imported when they are first used: a photo must not wait for plots."""

import sys
from importlib import import_module


def lazy_names(package, where):
    """What a package's ``__init__`` needs for names that wait.

    Args:
        package: its ``__name__``.
        where: dict of submodule -> names in it.

    Returns:
        (``__getattr__``, ``__dir__``, ``__all__``).
    """
    modules = {name: module for module, names in where.items() for name in names.split()}

    def get(name):
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(modules), sorted(modules)
