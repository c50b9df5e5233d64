"""Runs the pinned emulator, and keeps every line that its functions write: one file a function.

By itself it holds function output in memory, drops lines when a process ends between two requests, and loses all of it at
exit. A check that nothing confidential was written has to see everything.

Usage: emulator.py LOG_DIR    (its settings come by environment; `stack.py` starts it)
"""
import pathlib
import sys

from ministack import app
from ministack.core import lambda_runtime


class Tee:
    """A pipe whose lines also land in a file as they are read."""

    def __init__(self, pipe, path: pathlib.Path):
        self.pipe, self.file = pipe, path.open("ab", buffering=0)

    def readline(self) -> bytes:
        line = self.pipe.readline()
        self.file.write(line)
        return line

    def close(self) -> None:
        self.file.close()
        self.pipe.close()


def keep_output(log_dir: pathlib.Path) -> None:
    """Puts a `Tee` between each function's process and the emulator."""
    pump = lambda_runtime.ProvidedWorker._pump_output

    def tee(worker, pipe, lines):
        pump(worker, Tee(pipe, log_dir / f"{worker.func_name}.log"), lines)

    lambda_runtime.ProvidedWorker._pump_output = tee


if __name__ == "__main__":
    log_dir = pathlib.Path(sys.argv.pop())
    log_dir.mkdir(parents=True, exist_ok=True)
    keep_output(log_dir)
    app.main()
