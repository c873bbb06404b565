"""One notebook: where it is, which parameters it takes, and how papermill executes it."""

import ast
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from handlib.names import hint
from handlib.reading import short

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
WORKFLOW = ("01_explore_data", "02_train", "03_visualize_meshes", "04_evaluate")


class RunError(Exception):
    """A run that cannot start or did not finish; the message says why and what to do."""


class Stopped(RunError):
    """A run that was asked to stop and has saved everything; the same command goes on."""


class Finished(Exception):
    """Raised by a cell after which a notebook has nothing to do: it then counts as executed to its
    end, and the message says why there is no more."""

    def _render_traceback_(self):
        return [str(self)]


def notebook_path(name):
    """Path of a notebook given as a path or as the name of one of handlib's own."""
    for path in (Path(name), NOTEBOOKS / name, NOTEBOOKS / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    known = sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))
    raise RunError(f"no notebook {name!r}; {hint(name, known)}")


# -- parameters ------------------------------------------------------------------------------
def notebook_parameters(path):
    """Defaults of a notebook's parameters cell, as {name: value}."""
    from papermill import inspect_notebook

    try:
        found = inspect_notebook(_unformatted(path))
    except Exception as error:  # nbformat and jsonschema raise what they like
        raise RunError(f"{path} cannot be read as a notebook: {short(error)}") from None
    try:
        return {name: ast.literal_eval(p["default"]) for name, p in found.items()}
    except (ValueError, SyntaxError) as error:
        raise RunError(f"{path}: its parameters cell must hold plain literals ({error})") from None


def split_parameters(paths, given):
    """Check the given parameters against the notebooks and hand each what it takes.

    Args:
        paths: notebooks.
        given: {name: text or value}.

    Returns:
        {path: {name: value}}, with the parameters' types.

    Raises:
        RunError: for a name that no notebook has, or a value of another type.
    """
    defaults = {path: notebook_parameters(path) for path in paths}
    known = sorted({name for d in defaults.values() for name in d} - {"run_dir"})
    for name in given:
        if name not in known:
            where = ", ".join(p.stem for p in paths)
            raise RunError(f"no parameter {name!r} in {where}; {hint(name, known)}")
    return {
        path: {n: _typed(v, d[n], n) for n, v in given.items() if n in d}
        for path, d in defaults.items()
    }


def _typed(given, default, name):
    """A value, or the text of one on a command line, with the type of ``default``."""
    if isinstance(default, str):
        return str(given)
    value = _literal(given) if isinstance(given, str) else given
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        kind = type(default).__name__
        raise RunError(f"parameter {name} takes a value of type {kind}, got {given!r}")
    return value


def _literal(text):
    """The value that a text writes in JSON or in Python; the text itself where it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError):
            pass
    return text


# -- execution -------------------------------------------------------------------------------
def execute(path, output, parameters, quiet=False):
    """Run a notebook in a kernel of its own.

    ``output`` exists once all cells have run. Until then, and where one fails, what there is of
    it is ``<name>.partial.ipynb`` beside it.

    Args:
        path, output: of the notebook and of what it becomes.
        parameters: {name: value}.
        quiet: do not repeat here what the cells print.

    Raises:
        Stopped: a cell raised it.
        RunError: naming the cell, the error and the partial notebook.
    """
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".partial.ipynb")
    try:
        with _insistent_interrupts():
            executed = _papermill(path, partial, parameters, quiet)
    except PapermillExecutionError as error:
        if error.ename == Stopped.__name__:
            raise Stopped(error.evalue) from None
        if error.ename == Finished.__name__:
            _take_out_banners(partial)
            partial.replace(output)
            return
        reason = f"in cell {error.exec_count}: {error.ename}: {error.evalue}"
    except DeadKernelError:
        reason = "because its process was killed (is there enough memory?)"
    except KeyboardInterrupt:
        # What the abandoned cell still says while its kernel shuts down is of no use.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    else:
        left = [cell for cell in executed.cells if cell.get("execution_count", 0) is None]
        if not any(cell.source.strip() for cell in left):
            partial.replace(output)
            return
        # SystemExit ends a notebook, and papermill calls that a success.
        reason = f"to reach its end: a cell called exit(), {len(left)} cells were left"
    raise RunError(f"{path.stem} failed {reason}\nexecuted notebook: {partial}")


def without_banners(cells):
    """Cells of a notebook but those that papermill adds where one raised something."""
    from papermill.execute import ERROR_MARKER_TAG

    return [cell for cell in cells if ERROR_MARKER_TAG not in cell.metadata.get("tags", ())]


def _take_out_banners(path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = without_banners(notebook.cells)
    nbformat.write(notebook, path)


@contextmanager
def _insistent_interrupts(again_s=10):
    """Repeat an interrupt (Ctrl-C) until it has ended the block.

    Now and then one is lost: it is raised where Python can only report it, in a finalizer or a
    callback from C, and the cell would run on to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    timers = []

    def interrupt(signum, frame):
        timers.append(threading.Timer(again_s, os.kill, [os.getpid(), signal.SIGINT]))
        timers[-1].daemon = True
        timers[-1].start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for timer in timers:
            timer.cancel()


def _unformatted(path):
    """A path as papermill, which fills parameters into braces, takes for itself."""
    return str(path).replace("{", "{{").replace("}", "}}")


def plain_warnings():
    """Show warnings as sentences, as handlib writes them, without the place and its line of code.
    Those of other kinds than ``UserWarning`` are of the code, and keep them."""
    usual = warnings.formatwarning

    def plain(message, category, *place, **line):
        if category is UserWarning:
            return f"warning: {message}\n"
        return usual(message, category, *place, **line)

    warnings.formatwarning = plain


# What a kernel does first; it must leave no name behind.
_PLAIN = f"__import__({__name__!r}, fromlist=['']).plain_warnings()"


def _papermill(path, output, parameters, quiet):
    from papermill import execute_notebook
    from traitlets.config import Config

    # What papermill logs of a kernel that died is raised, too.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    # Unix sockets under a private, short path: kernels that start at once never race for ports.
    short = tempfile.gettempdir() if len(tempfile.gettempdir()) < 70 else "/tmp"
    scratch = tempfile.TemporaryDirectory(prefix="hl", dir=short)
    with scratch as sockets, _no_kernel_left(sockets):
        kernel = {
            "transport": "ipc",
            "ip": f"{sockets}/k",
            "connection_file": f"{sockets}/kernel.json",
            "client_factory": _client_class(),
        }
        config = Config({"KernelManager": kernel})
        return execute_notebook(
            _unformatted(path),
            _unformatted(output),
            parameters=parameters,
            kernel_name="python3",
            progress_bar=sys.stderr.isatty() and not quiet,
            log_output=False,
            stdout_file=None if quiet else sys.stdout,
            stderr_file=None if quiet else sys.stderr,
            config=config,
            # An interrupted kernel would log that its sockets are closed already.
            extra_arguments=[
                "--IPKernelApp.log_level=CRITICAL",
                f"--IPKernelApp.exec_lines={_PLAIN}",
            ],
            coalesce_streams=True,
            iopub_timeout=600,  # seconds to read what a cell printed, once it is done
        )


@contextmanager
def _no_kernel_left(folder):
    """End a kernel whose files are in ``folder`` with the block: nbclient leaves one behind that
    is interrupted while it starts. Without its sockets it fails, at times without an end."""
    try:
        yield
    finally:
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if any(word.startswith(folder) for word in child.cmdline()):
                    child.kill()
                    child.wait()


def _client_class():
    """A client of kernels for which all that they say waits until it is read.

    Of a usual one's, ZeroMQ drops what is beyond some 2,000 messages: the last lines of a cell that
    prints faster than they are read, and the word that it is done, for which papermill then waits.
    """
    import zmq
    from jupyter_client.asynchronous import AsyncKernelClient

    class Client(AsyncKernelClient):
        def _context_default(self):
            context = super()._context_default()
            context.setsockopt(zmq.RCVHWM, 0)  # of every socket made by it; 0: no limit
            return context

    return Client
