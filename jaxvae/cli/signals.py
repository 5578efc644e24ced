"""SIGTERM, with which schedulers take a machine back."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxvae.cli.terminal import say as print
from jaxvae.training.processes import is_primary_process


@contextmanager
def at_sigterm(handle: Callable[[], None]) -> Iterator[None]:
    """Calls `handle` where SIGTERM would end the process; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: handle())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """`asked()`: whether SIGTERM came, which does not end the process."""
    came = threading.Event()
    with at_sigterm(came.set):
        yield came.is_set


@contextmanager
def ending_well(how_to_go_on: str) -> Iterator[None]:
    """SIGTERM ends the process with 0 and this line: nothing is lost."""

    def end() -> None:
        if is_primary_process():
            print(f"stopped by SIGTERM; {how_to_go_on}", flush=True)
        raise SystemExit(0)

    with at_sigterm(end):
        yield
