"""What tokens of the tests print and log. It is as light as `work`: `logging` comes when needed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import gates

from tokengate_mp import task_token_guard


@task_token_guard(operation_type="speech.prints")
def prints(out: str, err: str) -> None:
    """Print a line to each stream."""
    print(out)
    print(err, file=sys.stderr)


def greet(text: str) -> None:
    """Print, as an initializer."""
    print(text)


def chatter_lines(name: str, count: int) -> list[str]:
    """Give the lines of `chatter`: some short, some longer than any frame."""
    return [f"{name}{n} " + name * (n * n * 7) for n in range(count)]


def chatter(name: str, count: int) -> None:
    """Print lines in pieces."""
    for line in chatter_lines(name, count):
        half = len(line) // 2
        print(line[:half], end="", flush=half % 2 == 0)
        print(line[half:])


def print_in_threads(threads: int, count: int) -> None:
    """Print lines from several threads, each in two pieces, at the same time."""
    ready = threading.Barrier(threads)

    def body(name: int) -> None:
        ready.wait()
        for _ in range(count):
            print(name, end=" and ")
            print(name)

    running = [threading.Thread(target=body, args=(name,)) for name in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def close_stdout() -> None:
    """Close what print() prints to."""
    sys.stdout.close()


def print_and_wait(text: str, address: gates.Address, stream: str = "stdout") -> None:
    """Print something and stay."""
    print(text, end="", file=getattr(sys, stream))
    gates.wait_at(address)


def write_bytes(data: bytes) -> None:
    """Write to the layer below the text."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def log(name: str, level: int, message: str, *args: Any) -> None:
    """Log a message."""
    import logging

    logging.getLogger(name).log(level, message, *args)


@task_token_guard(operation_type="speech.logs")
def logs(message: str, args: tuple[Any, ...]) -> None:
    """Log a message with extra attributes."""
    import logging

    extra = {"colour": "blue", "pair": (1, {2})}
    logging.getLogger("speech.deep").warning(message, *args, extra=extra)


class Unpicklable(Exception):
    """An exception that cannot leave its process."""

    def __reduce__(self):
        raise TypeError("it stays here")


def log_exception() -> None:
    """Log an exception with its traceback."""
    import logging

    try:
        raise Unpicklable("no way")  # noqa: TRY301 - it is caught to be logged
    except Unpicklable:
        logging.getLogger("speech").exception("it happened")


def log_costly(name: str, level: int) -> bool:
    """Log something, and say whether it was formatted."""
    import logging

    formatted = []

    class Costly:
        def __str__(self) -> str:
            formatted.append(1)
            return "costly"

    logging.getLogger(name).log(level, "%s", Costly())
    return bool(formatted)


class NoRepr:
    """Neither travels nor shows itself."""

    def __repr__(self) -> str:
        raise ValueError("no")

    def __reduce__(self):
        raise TypeError("no")


class Elsewhere:
    """Can be pickled, and not be loaded in the parent."""

    def __reduce__(self):
        return load_here, (os.getpid(),)


def load_here(pid: int) -> None:
    """Fail in any other process."""
    if os.getpid() != pid:
        raise RuntimeError("this is another process")


def log_strange_extras() -> None:
    """Log with extra attributes of all kinds."""
    import logging

    extra: dict[Any, Any] = {
        7: "no name",
        "lock": threading.Lock(),
        "large": 1 << 80,
        "surrogate": "\ud800",
        "broken": NoRepr(),
        "elsewhere": Elsewhere(),
    }
    logging.getLogger("speech").warning("strange", extra=extra)


def log_and_report(address: gates.Address) -> None:
    """Log, and be seen."""
    log("speech", 30, "logged")
    gates.report_to(address)


def log_and_die(address: gates.Address) -> None:
    """Log, be seen, and end the process."""
    log_and_report(address)
    os._exit(3)


def log_often(count: int) -> None:
    """Log many records."""
    import logging

    for n in range(count):
        logging.getLogger("speech").info("%d", n)


@task_token_guard(operation_type="speech.lead")
def lead(count: int) -> None:
    """Log in tokens made inside this one, and then here."""
    import logging

    for token in [inner(n) for n in range(count)]:
        token.get()
    logging.getLogger("speech").info("outer")


@task_token_guard(operation_type="speech.inner")
def inner(n: int) -> None:
    """Log a number."""
    log("speech", 20, str(n))


def log_in_a_thread() -> None:
    """Log from a thread of one's own."""
    thread = threading.Thread(target=log, args=("speech", 20, "threaded"), name="the user's")
    thread.start()
    thread.join()


def alternate(count: int) -> None:
    """Log and print in turn."""
    for n in range(count):
        log("speech", 20, f"logged{n}")
        print(f"printed{n}")


def say_and_die(how: int | signal.Signals) -> None:
    """Print and log, and end the process at once."""
    for n in range(100):
        print("line", n)
        log("speech", 20, "record")
    if isinstance(how, signal.Signals):
        os.kill(os.getpid(), how)
    os._exit(how)


def flood(how: str, size: int, address: gates.Address | None) -> None:
    """Say so many bytes, and then wait at a gate."""
    if how == "at once":
        print("x" * size)
    elif how == "in lines":
        for _ in range(size // 100):
            print("x" * 99)
    else:
        import logging

        logger = logging.getLogger("speech")
        for _ in range(50):
            logger.info("y" * (size // 50))
    if address is not None:
        gates.wait_at(address)


def print_for_ever(address: gates.Address) -> None:
    """Print numbered lines, in pieces and in one, until it is ended."""
    gates.report_to(address)
    n = 0
    while True:
        print("piece", n, end="", flush=n % 3 == 0)
        print(" and piece", n)
        n += 1


def flood_until(address: gates.Address) -> None:
    """Print without a pause until a gate opens."""
    waiting = threading.Thread(target=gates.wait_at, args=(address,))
    waiting.start()
    while waiting.is_alive():
        print("x" * 999)
    waiting.join()


def speak_in_a_fork() -> int:
    """Print and log, in this process and in a fork of it; the fork's number."""
    import logging

    logger = logging.getLogger("speech")
    print("parent first")
    logger.info("parent first")
    print("parent ", end="")
    pid = os.fork()
    if pid == 0:
        print("fork")
        logger.info("fork")
        os._exit(0)
    os.waitpid(pid, 0)
    print("last")
    logger.info("parent last")
    return pid


def fork_and_wait() -> int:
    """Fork a process that prints when its core process is gone; its number."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)  # its end comes with the end of the core process
        print("after the end")
        os._exit(0)
    os.close(reading)
    return pid


def logging_is_loaded() -> bool:
    """Say whether it is."""
    return "logging" in sys.modules


def find_logging() -> bool:
    """Look whether there is a module `logging`, without importing it."""
    import importlib.util

    return importlib.util.find_spec("logging") is not None and "logging" not in sys.modules


def import_logging() -> list[str]:
    """Import it; the names of the root logger's handlers."""
    import logging

    return [type(handler).__name__ for handler in logging.getLogger().handlers]
