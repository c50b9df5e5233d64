"""Tells a story on a terminal: chapters, commands, steps with their time. In a file or a pipe the same without colour or motion."""
import contextlib
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

WIDTH = min(100, shutil.get_terminal_size((101, 24)).columns - 1)
"""Columns of prose, and of a line that is written over: one fewer than the terminal has."""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Step:
    """A step under way."""

    def __init__(self, label: str):
        self.label, self.began, self.note = label, time.monotonic(), ""

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self.began


class Narrator:
    """Writes the story to standard output."""

    def __init__(self) -> None:
        self.moving = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.coloured = self.moving and not os.environ.get("NO_COLOR")
        self.chapters = 0
        self.began = time.monotonic()

    def styled(self, code: str, text: str) -> str:
        """`text` in an ANSI style, where there is colour."""
        return f"\033[{code}m{text}\033[0m" if self.coloured else text

    def line(self, text: str = "") -> None:
        """One line, as it is."""
        print(text, flush=True)

    def title(self, text: str, *more: str) -> None:
        """The story's name and what it is about."""
        self.line()
        self.line(self.styled("1", text))
        for paragraph in more:
            self.line(textwrap.fill(paragraph, WIDTH))

    def chapter(self, text: str) -> None:
        """A numbered heading."""
        self.chapters += 1
        self.line()
        self.line(self.styled("1;34", f"{self.chapters}. {text}"))

    def say(self, text: str) -> None:
        """Prose."""
        self.line(textwrap.fill(text, WIDTH, initial_indent="   ", subsequent_indent="   "))

    def command(self, text: str) -> None:
        """Something that the reader could type."""
        self.line("   " + self.styled("36", f"$ {text}"))

    def output(self, text: str) -> None:
        """What a command printed."""
        for line in text.rstrip("\n").splitlines():
            self.line("   " + self.styled("2", "│ ") + line)

    def quote(self, text: str) -> None:
        """What the system says to its user, in its own words."""
        self.line(textwrap.fill(f"“{text}”", WIDTH, initial_indent="     ", subsequent_indent="     "))

    def fact(self, text: str) -> None:
        """Something that was checked and holds."""
        self.line("   " + self.styled("32", "✓") + " " + text)

    def table(self, headings: list[str], rows: list[list[str]]) -> None:
        """Columns as wide as they must be."""
        widths = [max(map(len, column)) for column in zip(headings, *rows)]
        cells = lambda row: "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        self.line("     " + self.styled("2", cells(headings)))
        for row in rows:
            self.line("     " + cells(row))

    @contextlib.contextmanager
    def step(self, label: str, shows_itself: bool = False) -> Iterator[Step]:
        """A step that may take long: shows that it runs (unless it does so itself), then how long it took."""
        step, over = Step(label), threading.Event()
        spins = self.moving and not shows_itself
        spinner = threading.Thread(target=self._spin, args=(step, over), daemon=True)
        if spins:
            spinner.start()
        else:
            self.line(f"   … {label}")
        try:
            yield step
        finally:
            over.set()
            if spins:
                spinner.join()
                print("\r\033[K", end="")
        self.fact(f"{step.label}  {self.styled('2', f'{step.seconds:.1f} s')}")

    def _spin(self, step: Step, over: threading.Event) -> None:
        turn = 0
        while not over.wait(0.1):
            turn += 1
            text = f"   {SPINNER[turn % len(SPINNER)]} {step.label}{step.note and f' ({step.note})'}  {step.seconds:.0f} s"
            print(f"\r\033[K{text[:WIDTH]}", end="", flush=True)
