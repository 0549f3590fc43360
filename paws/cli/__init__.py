"""The command line: verbs, and what a user sees when something is wrong. Heavy imports happen inside the verbs."""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, NoReturn, TextIO

import typer

from paws.errors import InputError

NO_MEMORY = ("allocate memory", "out of memory")  # in what torch raises
WRITING = (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO)  # of a standard output

HEADINGS = {  # verbs in the order of their use
    "Your own images": ("example", "fit", "report", "predict", "sort", "explain", "suggest", "label", "labels", "export"),
    "Training": ("train", "evaluate", "split", "launch"),
    "Formats": ("convert", "schema"),
}
EXAMPLES = {
    "example": "paws example photos",
    "fit": "paws fit photos --labels labels.csv -o runs/mine",
    "report": "paws report runs/mine",
    "predict": "paws predict runs/mine/bundle new_photos -o new.csv",
    "sort": "paws sort runs/mine --into sorted",
    "explain": "paws explain runs/mine photos/17.jpg -o why.png",
    "label": "paws label photos",
    "suggest": "paws suggest runs/mine -n 20 -o next.csv",
    "labels": "paws labels runs/mine --suspicious",
    "export": "paws export runs/mine/bundle -o model.onnx",
    "train": "paws train configs/digits.yaml optim.epochs=5",
    "evaluate": "paws evaluate runs/digits",
    "split": "paws split labels.txt --dataset fashion_mnist --per-class 4",
    "launch": "paws launch configs/digits.yaml --nodes 2 --partition main --time 30",
    "convert": "paws convert old.yaml -o card.yaml",
    "schema": "paws schema > schema.json",
}

app = typer.Typer(
    help="Semi-supervised learning from a folder of images and a handful of labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _name in ("example", "images", "report", "insight", "labels", "label", "training", "splits", "launch"):
    importlib.import_module(f"paws.cli.{_name}").register(app)
_verbs = {}
for _command in app.registered_commands:
    _verb = str(_command.name or getattr(_command.callback, "__name__", ""))
    _command.rich_help_panel = next(heading for heading, verbs in HEADINGS.items() if _verb in verbs)
    _command.epilog = f"Example: {EXAMPLES[_verb]}"
    _verbs[_verb] = _command
app.registered_commands = [_verbs[verb] for verbs in HEADINGS.values() for verb in verbs if verb in _verbs]


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("paws-ssl"))
        raise typer.Exit()


@app.callback()
def _options(
    shown: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version and end")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; a mistake in the input ends with one message and exit code 2, what the system refuses with 1."""
    printed = sys.stdout
    if printed is None:
        print("error: standard output is closed", file=sys.stderr)
        raise SystemExit(1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be text that the terminal can show
    warnings.filterwarnings("ignore", "This DataLoader will create")  # a card's workers may be more than there are cores
    try:
        with _stopped_by_signals():
            app()
    except InputError as error:
        if not error.told:
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (MemoryError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        if not isinstance(error, MemoryError) and not any(part in first for part in NO_MEMORY):
            raise
        print(f"error: not enough memory ({first or 'nothing more is known'}); ask for less at a time", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is not None:  # of a name that no file can have, or a place that is not for this user
            print(f"error: {os.fsdecode(error.filename)}: {error.strerror}", file=sys.stderr)
            raise SystemExit(2) from None
        if error.errno not in WRITING:
            raise
        try:
            print(flush=True)
        except OSError:  # it was standard output
            _output_failed(error)
        print(f"error: a file cannot be written ({error.strerror})", file=sys.stderr)
        raise SystemExit(1) from None
    except SystemExit:
        _flush(printed)
        raise


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """A signal that asks for the end raises SystemExit, so that temporary files go; training saves its state instead."""

    ends: list[SystemExit] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        ends.append(SystemExit(128 + number))
        print(f"stopped by {signal.Signals(number).name}; what is finished is kept", file=sys.stderr)
        raise ends[0]

    caught = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        caught = []
    for number in caught:
        signal.signal(number, stop)
    try:
        yield
    except Exception:
        if ends:  # native code that was called back took the end for a failure of its own
            raise ends[0] from None
        raise
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def _flush(printed: TextIO) -> None:
    if sys.stdout is not printed:  # click met a closed pipe, put a stand-in in its place and said nothing
        _output_failed(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
    try:
        sys.stdout.flush()
    except OSError as error:
        _output_failed(error)


def _output_failed(error: OSError) -> NoReturn:
    with suppress(OSError, ValueError):  # what is left in the buffer cannot be written at the end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"error: standard output cannot be written ({error.strerror})", file=sys.stderr)
    raise SystemExit(1)
