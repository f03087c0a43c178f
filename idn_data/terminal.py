"""What commands show: bars, a training's line, results as text or JSON."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from click._termui_impl import ProgressBar as _Bar  # what click.progressbar returns


def print_any_text() -> None:
    """Let standard output and error write what their encoding lacks as ``\\u2026``, so that work done cannot fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(text: str) -> None:
    """A line on standard error; where that cannot be written, the work goes on without it."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


class ProgressBar:
    """A bar on standard error for each stretch of work; a plain line where that is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.what = quiet or sys.stderr is None, ""
        self.bar: _Bar[int] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.quiet:
            return
        try:
            self._show(what, done, total)
        except OSError:  # whoever read it has gone, or the log's disk is full: the work goes on
            self.quiet, self.bar = True, None

    def _show(self, what: str, done: int, total: int) -> None:
        if what != self.what:
            self.close()
            self.what = what
            self.bar = click.progressbar(length=total, label=f"{what:<22}", file=sys.stderr, width=30, show_pos=True)
            self.bar.__enter__()
        if self.bar is not None:
            self.bar.update(max(0, done - self.bar.pos))

    def close(self) -> None:
        bar, self.bar, self.what = self.bar, None, ""
        if bar is not None:
            with contextlib.suppress(OSError):
                bar.__exit__(None, None, None)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TrainingLine:
    """One line on standard error, rewritten each second; a line each minute where that is no terminal."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet or sys.stderr is None
        self.live, self.shown = not self.quiet and sys.stderr.isatty(), 0.0

    def __call__(self, at: Any) -> None:
        now = time.monotonic()
        if self.quiet or not (self.live or now - self.shown > 60 or at.step >= at.steps):
            return
        self.shown = now
        psnr = "" if at.psnr is None else f"  PSNR {at.psnr:.2f} (best {at.best_psnr:.2f})"
        left = f"{at.seconds_left / 60:.0f} min" if at.seconds_left >= 90 else f"{at.seconds_left:.0f} s"
        text = f"{at.step:,}/{at.steps:,}  loss {at.loss:.4g}  rate {at.rate:.2g}  {at.patches_per_second:.0f}/s{psnr}"
        try:
            click.echo(f"\r{text}  {left} left\x1b[K" if self.live else text, nl=not self.live, err=True)
        except OSError:  # as above
            self.quiet = True

    def close(self) -> None:
        if self.live and not self.quiet:
            with contextlib.suppress(OSError):
                click.echo(err=True)


def load_kernels_aloud(quiet: bool, *more: str) -> None:
    """Load the kernels, and `more` modules. Where numba compiles them (the first time on a machine), it is said."""
    from numba.core.event import Listener, install_listener

    from idn_data.matlab.compiled import explain_cache, load_kernels

    class Compilation(Listener):
        said = quiet

        def on_start(self, event: object) -> None:
            if not self.said:
                tell("compiling the resize kernels, once on this machine")
            self.said = True

        def on_end(self, event: object) -> None:
            pass

    with install_listener("numba:compile", Compilation()):  # not heard where they come from the cache
        for module in ("idn_data.matlab.kernels", "idn_data.matlab.kernels8", "idn_data.patches.kernels", *more):
            load_kernels(module)
    if (note := explain_cache()) and not quiet:
        tell(note)


def check_report(_: click.Context, __: click.Parameter, target: str | None) -> str | None:
    """Callback of an option that names a report: a file that could not be written is refused before all the work."""
    if target not in (None, "-"):
        from idn_data.atomic import check_target

        check_target(target, force=True, text=True)
    return target


def print_result(text: str, target: str | None, value: object) -> None:
    """Print a result as text, then write it as JSON to `target`; where that is ``-``, the JSON alone is printed."""
    print_then(None if target == "-" else text, lambda: write_json(target, value))


def print_then(text: str | None, *writes: Callable[[], None], err: bool = False) -> None:
    """Print a result, if any, and then write its files: it is not lost with a file that cannot be written.

    Nor are the files lost where the reader of what is printed has gone, as that of ``| head``.
    """
    gone: BrokenPipeError | None = None
    try:
        if text is not None:
            click.echo(text, err=err)
    except BrokenPipeError as error:
        gone = error
    for write in writes:
        write()
    if gone:
        raise gone


def check_apart(**targets: str | None) -> None:
    """Usage error where two reports would go to one place; by the names of their options."""
    names: dict[str, str] = {}
    for option, target in targets.items():
        if target is not None:
            place = target if target == "-" else os.path.realpath(target)
            if other := names.get(place):
                raise click.UsageError(f"--{other} and --{option} both name {target}; give each a file of its own")
            names[place] = option


def write_output(target: str | None, text: str) -> None:
    """Write a report to the file its user named, or to standard output for ``-``; a report of before is replaced."""
    if target == "-":
        click.echo(text, sys.stdout, nl=False)
    elif target is not None:
        from idn_data.atomic import write_text

        write_text(target, text, force=True)


def write_json(target: str | None, value: object) -> None:
    """`write_output` of a value as JSON; what is not finite (the PSNR of equal images) becomes null."""

    def tidy(item: Any) -> Any:
        if isinstance(item, dict):
            return {k: tidy(v) for k, v in item.items()}
        if isinstance(item, (list, tuple)):
            return [tidy(v) for v in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    value = tidy(value)
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        text.encode((getattr(sys.stdout, "encoding", None) if target == "-" else None) or "utf-8")
    except UnicodeEncodeError:  # a stream that lacks a letter, or the name of a file that is no text
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_output(target, text)
