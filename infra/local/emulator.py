"""Runs the pinned emulator with two things mended (each is checked against its pinned version by the journeys).

- It keeps what functions write in memory, drops lines when a process ends between two requests, and loses all at exit.
  A check that nothing confidential was written has to see everything: here it lands in one file a function.
- A Number parameter of a template reaches `ScalingConfig.MaximumConcurrency` as text, and the queue's poller stops on it.

Usage: emulator.py LOG_DIR    (its settings come by environment; `stack.py` starts it)
"""
import pathlib
import sys

from ministack import app
from ministack.core import lambda_runtime
from ministack.services import lambda_svc


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


def read_concurrency_as_number() -> None:
    """Makes an event source's concurrency the number that CloudFormation would have made of it."""
    allowed = lambda_svc._sqs_esm_concurrency

    def mended(mapping, *rest):
        scaling = mapping.get("ScalingConfig") or {}
        if "MaximumConcurrency" in scaling:
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return allowed(mapping, *rest)

    lambda_svc._sqs_esm_concurrency = mended


if __name__ == "__main__":
    log_dir = pathlib.Path(sys.argv.pop())
    log_dir.mkdir(parents=True, exist_ok=True)
    keep_output(log_dir)
    read_concurrency_as_number()
    app.main()
