"""Run the programs that tests need, and let none of them outlive the run.

In: a command. Out: a running process in a session of its own, so that a Ctrl-C at the terminal
reaches pytest alone and pytest ends its children in order. Rule: whatever is started here dies
with the test run, even when that is killed with SIGKILL: a small guard process holds the list of
what runs, notices that its pipe closed and kills what is left, by process group.
"""

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


def start(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command; what it prints is appended to `log`."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    _guard.tell(f"+{process.pid}")
    return process


def stop(process: subprocess.Popen[bytes], *, timeout_s: float = 30.0) -> int:
    """Ask a process to end, insist after `timeout_s`; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return kill(process)
    return _ended(process)


def kill(process: subprocess.Popen[bytes]) -> int:
    """End a process and all that it started, at once, as `kill -9` does; return its exit code."""
    if process.poll() is None:
        _kill_group(process.pid)
    return _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> int:
    code = process.wait()
    _guard.tell(f"-{process.pid}")
    return code


def _kill_group(leader_pid: int) -> None:
    try:
        os.killpg(leader_pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself


class _Guard:
    """The process that outlives us by a moment: started with the first program, told of each."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def tell(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = self._begin()
            assert self._process.stdin is not None
            print(line, file=self._process.stdin, flush=True)

    @staticmethod
    def _begin() -> subprocess.Popen[str]:
        guard = subprocess.Popen(
            [sys.executable, "-I", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        atexit.register(guard.communicate)  # closes its pipe and waits for its end
        return guard


_guard = _Guard()


def _watch(lines: IO[str]) -> None:
    """Follow what is started (+pid) and ended (-pid); at the end of the pipe, kill the rest."""
    running: set[int] = set()
    for line in lines:
        pid = int(line[1:])
        if line.startswith("+"):
            running.add(pid)
        else:
            running.discard(pid)
    for pid in running:
        _kill_group(pid)


if __name__ == "__main__":
    _watch(sys.stdin)
