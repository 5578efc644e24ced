"""Handlers of SIGTERM, by which schedulers end a process, and of SIGINT, which is Ctrl-C."""

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxvae.cli.terminal import say as print
from jaxvae.training.processes import is_primary_process


@contextmanager
def at_sigterm(handle: Callable[[], None]) -> Iterator[None]:
    """Calls `handle` at SIGTERM if the signal would end the process. Only the main thread can install a handler."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: handle())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_interrupted = threading.Event()
AGAIN = 0.05
"""Number of seconds after which a KeyboardInterrupt that Python dropped is raised again."""


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether Ctrl-C was pressed, which still raises KeyboardInterrupt.

    Python drops exceptions of callbacks such as those of the garbage collector, in which JAX spends time while it
    compiles. A KeyboardInterrupt that was dropped there is raised again. If SIGINT is ignored, it remains ignored.
    """
    _interrupted.clear()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield _interrupted.is_set
        return

    def interrupt(number: int, frame: object) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    def unraisable(told: "sys.UnraisableHookArgs") -> None:
        if told.exc_type is KeyboardInterrupt:
            timers.append(threading.Timer(AGAIN, _interrupt_main))
            timers[-1].daemon = True
            timers[-1].start()
        else:
            hook(told)

    timers: list[threading.Timer] = []
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield _interrupted.is_set
    finally:
        for timer in timers:
            timer.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook


def _interrupt_main() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # which also ends a wait
    else:
        _thread.interrupt_main()


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether SIGTERM has arrived, which does not end the process. The function raises
    KeyboardInterrupt if one was dropped.
    """
    came = threading.Event()

    def asked() -> bool:
        if _interrupted.is_set():
            raise KeyboardInterrupt
        return came.is_set()

    with at_sigterm(came.set):
        yield asked


@contextmanager
def ending_well(how_to_go_on: str) -> Iterator[None]:
    """Makes SIGTERM end the process with this line and the exit code 0, for phases in which no work would be lost."""

    def end() -> None:
        if is_primary_process():
            print(f"stopped by SIGTERM; {how_to_go_on}", flush=True)
        raise SystemExit(0)

    with at_sigterm(end):
        yield
