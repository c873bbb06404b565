"""Nothing in the tree runs what a file says: its code is searched for what could."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("handlib", "notebooks", "benchmarks", "docs", ".ci")
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "breakpoint",
    "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pty.spawn",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "marshal.load",
    "shelve.open", "joblib.load", "dill.loads", "cloudpickle.loads", "pandas.read_pickle",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.hub.load", "tempfile.mktemp",
    "runpy.run_path", "runpy.run_module", "webbrowser.open", "shutil.unpack_archive",
}  # fmt: skip
# Of an archive, whatever its variable is called; members could name places outside of a folder.
FORBIDDEN_METHODS = {"extract", "extractall"}
FORBIDDEN_IMPORTS = {"marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "tarfile"}
# file -> what it may use, and why.
ALLOWED = {
    "handlib/mano/pickles.py": {"import pickle"},  # the restricted reader is made of its opcodes
    "handlib/mano/standin/__init__.py": {"import pickle"},  # writes the stand-in as a MANO file
}


def sources():
    """(name, code) of each Python file and of the cells of each notebook."""
    for path in sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            yield name, path.read_text()
        elif path.suffix == ".ipynb":
            cells = json.loads(path.read_text())["cells"]
            code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
            yield name, "\n".join(code)


def faults(code):
    """(line, what) of all that a program must not do."""
    tree = ast.parse(code)
    names = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in _modules(node):
                if module.split(".")[0] in FORBIDDEN_IMPORTS | {"pickle", "_pickle"}:
                    yield node.lineno, f"import {module}"
        if isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _call_faults(node, names))


def _modules(node):
    return [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]


def _imported(tree):
    """What local names stand for: {"sp": "subprocess", "loads": "pickle.loads"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname or a.name.split(".")[0]: a.asname and a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return {name: full for name, full in names.items() if full}


def _call_faults(node, names):
    name = _name(node.func, names)
    keywords = {k.arg: k.value for k in node.keywords}
    if name in FORBIDDEN_CALLS:
        yield name
    if isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_METHODS:
        yield f".{node.func.attr}()"
    if "shell" in keywords and not _is(keywords["shell"], False):
        yield "shell=True"
    if "allow_pickle" in keywords and not _is(keywords["allow_pickle"], False):
        yield "allow_pickle=True"
    if "trust_remote_code" in keywords and not _is(keywords["trust_remote_code"], False):
        yield "trust_remote_code=True"
    if name in ("np.load", "numpy.load") and not _is(keywords.get("allow_pickle"), False):
        yield "np.load without allow_pickle=False"
    if name == "torch.load" and not _is(keywords.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if name == "subprocess.run" and node.args and isinstance(node.args[0], ast.JoinedStr):
        yield "a command as one text"


def _name(node, names):
    """Dotted name of what is called; methods of other objects, model.eval(), keep theirs."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value, names)}.{node.attr}"
    return "?"


def _is(node, value):
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize(("name", "code"), [*sources()], ids=[name for name, _ in sources()])
def test_nothing_runs_what_a_file_says(name, code):
    found = [(line, what) for line, what in faults(code) if what not in ALLOWED.get(name, ())]
    assert not found, f"{name}: {found}"


def test_every_exception_is_needed():
    used = {name: {what for _, what in faults(code)} for name, code in sources()}
    assert {name: used[name] for name in ALLOWED} == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')", "exec(text)", "import os\nos.system('ls')", "from os import system\nsystem(x)",
        "import subprocess as sp\nsp.run('ls', shell=True)", "import pickle", "import _pickle as p",
        "from pickle import loads\nloads(b'')", "import torch\ntorch.load(f)", "np.load(f)",
        "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "import yaml",
        "archive.extractall(folder)", "import shutil\nshutil.unpack_archive(f)",
        "AutoModel.from_pretrained(n, trust_remote_code=True)", "subprocess.run(f'rm {name}')",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(code):
    assert list(faults(code))


def test_the_search_lets_pass_what_is_sound():
    code = "model.eval()\nnet.eval().half()\nsubprocess.run(['ls'], shell=False)\nre.compile('a')"
    assert not list(faults(code + "\nnp.load(f, allow_pickle=False)\ntorch.compile(model)"))
