"""Processes beside this one that compute what would hold its interpreter: the program is side_program.py, questions and answers go through pipes, pickled,
the buffers of arrays behind what was pickled."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from embermill.side_program import Message, pack, read_message, unpack, write_message

ENDING_S = 2.0
PROGRAM = Path(__file__).with_name("side_program.py")
ONE_CORE = {name: "1" for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} | {"TOKENIZERS_PARALLELISM": "false"}

Asked = tuple[tuple[Any, ...], "Future[Any]"]


class SideProcessLost(Exception):
    """A process ended before it had answered. how: "by SIGKILL", say. code: as subprocess has it."""

    def __init__(self, code: int) -> None:
        self.code, self.how = code, f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        super().__init__(f"a process beside this one ended {self.how} before it had answered")


class _Elsewhere(Exception):
    """The traceback of an exception in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class SideProcesses:
    """They end with whoever made them. OSError where one cannot be started."""

    def __init__(self, opener: str, arguments: tuple[Any, ...], count: int, *, name: str, settings: Mapping[str, str] | None = None) -> None:
        """opener: "module:function", called with `arguments` in each process; what it returns answers. name: of the threads that wait here. settings: of the
        processes' environment, beside this one's and ONE_CORE.
        """
        hello, environment = pack((opener, arguments)), ONE_CORE | dict(settings or {})
        self._closed = False
        self._questions: SimpleQueue[Asked | None] = SimpleQueue()
        self._processes = list[_SideProcess]()
        weakref.finalize(self, _end, self._questions, self._processes)
        for _ in range(count):
            self._processes.append(_SideProcess(hello, environment))
        for process in self._processes:
            threading.Thread(target=_ask_in_turn, args=(process, self._questions), name=name, daemon=True).start()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def ask(self, *question: Any) -> Future[Any]:
        """Answered by whichever is free. What the answerer raises is raised here; SideProcessLost where its process ended: it is started anew."""
        if self._closed:
            raise RuntimeError("these processes are closed")
        answer: Future[Any] = Future()
        self._questions.put((question, answer))
        return answer

    def close(self) -> None:
        self._closed = True
        _end(self._questions, self._processes)


class _SideProcess:
    """One of them, used by one thread; it is started anew where it is gone."""

    def __init__(self, hello: Message, settings: Mapping[str, str]) -> None:
        self._hello, self._settings, self._over = hello, settings, False
        self._process = self._started()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: tuple[Any, ...]) -> Any:
        if self._process.poll() is not None and not self._over:
            _close(self._process)
            self._process = self._started()
        process, answer = self._process, None
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            write_message(process.stdin, pack(question))
            answer = read_message(process.stdout)
        if answer is None:
            raise SideProcessLost(_ended(process))
        made, failed = unpack(answer)
        if failed is not None:
            raise failed[0] from _Elsewhere(failed[1])
        return made

    def _started(self) -> subprocess.Popen[bytes]:
        environment = os.environ | self._settings
        process = subprocess.Popen([sys.executable, "-I", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # whoever asks it finds it gone
            write_message(process.stdin, pack(sys.path))
            write_message(process.stdin, self._hello)
        return process

    def end(self) -> None:
        self._over = True
        _close(self._process)


def _close(process: subprocess.Popen[bytes]) -> None:
    """At once, whatever it is at: it has nothing to put in order. A thread that waits for its answer finds it gone, and lets go of the pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code, as subprocess has it; it is killed where it takes its time."""
    try:
        return process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _ask_in_turn(process: _SideProcess, questions: SimpleQueue[Asked | None]) -> None:
    while (taken := questions.get()) is not None:
        question, answer = taken
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(process.ask(question))
            except BaseException as error:
                answer.set_exception(error)
        del taken, question, answer  # while it waits for the next


def _end(questions: SimpleQueue[Asked | None], processes: list[_SideProcess]) -> None:
    for _ in processes:
        questions.put(None)
    for process in processes:
        process.end()
