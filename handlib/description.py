"""``run.json``: what is needed to know how a run was made, and to make it again.

Beside it ``uncommitted.diff``, where the code was not as committed.
"""

import contextlib
import hashlib
import json
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from handlib.notebooks import RunError
from handlib.paths import PACKAGE, atomic_write, from_environment, has_model, write_json
from handlib.reading import expecting, read_json

CHANGES = "uncommitted.diff"
ANEW = "give another --name, or remove the folder"
# Environment variables that change what a run computes.
ENVIRONMENT = ("MANO", "MP_DATA", "MP_BACKGROUNDS")
# Untracked files that may change a result. Data and runs in the checkout are thousands of others.
CODE, MOST_NAMED = (".py", ".ipynb", ".toml", ".yml", ".yaml"), 50


def run_name(paths, parameters, given, sees=()):
    """What differs from the defaults, and a fingerprint of code, notebooks, settings, and of what
    else the run ``sees``: texts."""
    digest = hashlib.sha256()
    for path in (*sorted(PACKAGE.rglob("*.py")), *paths):
        digest.update(path.read_bytes())
    digest.update(json.dumps([parameters, _environment(), *sees], sort_keys=True).encode())
    what = "run" if len(paths) > 1 else paths[0].stem
    differs = "-".join(f"{n}={_short(v)}" for n, v in sorted(given.items()))
    slug = re.sub(r"[^\w.=-]+", "_", f"{what}-{differs}" if differs else what)[:80]
    return f"{slug}-{digest.hexdigest()[:8]}"


def _short(value):
    """A value without the folders of the paths in it, of which there may be several."""
    return ",".join(Path(part.strip()).name for part in str(value).split(","))


def _environment():
    return {name: str(from_environment(name) or "") for name in ENVIRONMENT}


def describe(run_dir, parameters):
    """Write ``run.json``: what is needed to know how a run was made.

    A run that goes on keeps its description, and must agree with it.
    """
    path = run_dir / "run.json"
    begins = not path.exists()
    about = _made_by() if begins else check_same(run_dir, parameters)
    if begins and about["uncommitted"]:
        with atomic_write(run_dir / CHANGES) as temporary:
            temporary.write_bytes(_git_bytes("diff", "--binary", "HEAD") or b"")
    write_json(path, about | {"parameters": about["parameters"] | parameters})


def check_same(run_dir, parameters):
    """The description of a run that there is; RunError where it was made with other settings."""
    path = run_dir / "run.json"
    about = read_json(path, ANEW, finite=False)
    with expecting(path, "not what a run writes", ANEW):
        settings = about["parameters"] | {"the environment": about["environment"]}
    for name, value in (parameters | {"the environment": _environment()}).items():
        if settings.get(name, value) != value:
            begin = f". A new run can begin with this one's weights: -p init {run_dir.name}"
            raise RunError(
                f"{run_dir} was made with other settings of {name}: {settings[name]}, now {value}; "
                f"{ANEW}{begin * has_model(run_dir)}"
            )
    return about


def fingerprint(place):
    """Check sum of the names and sizes of the files that a path leads to; None where none is."""
    path = Path(place)
    inside = [*path.glob("*"), *path.glob("models/*")]
    files = [path] if path.is_file() else sorted(file for file in inside if file.is_file())
    known = [(file.name, file.stat().st_size) for file in files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16] if known else None


def _made_by():
    versions = {"python": platform.python_version()}
    for name in ("handlib", "torch", "numpy", "transformers", "accelerate", "papermill"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "parameters": {},
        "environment": _environment(),
        "fingerprints": {name: fingerprint(v) for name, v in _environment().items() if v},
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted": _git("status", "--porcelain", "--untracked-files=no"),
        "untracked": _untracked(),
    }


def _untracked():
    """Names of untracked code, those of the package first, and how many other files there are."""
    said = _git_bytes("ls-files", "--others", "--exclude-standard", "-z")
    if said is None:
        return None
    names = said.decode(errors="replace").split("\0")[:-1]
    code = [name for name in names if name.endswith(CODE)]
    named = sorted(code, key=lambda name: not name.startswith(f"{PACKAGE.name}/"))[:MOST_NAMED]
    others = len(names) - len(named)
    return "\n".join([*named, *[f"and {others} other files"] * (others > 0)])


def _git(*arguments):
    said = _git_bytes(*arguments)
    return None if said is None else said.decode(errors="replace").strip()


def _git_bytes(*arguments):
    """What git says of the repository that handlib lies in; None where there is none."""
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
