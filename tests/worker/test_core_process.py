"""A core process: what it is given, and what it loads."""

from __future__ import annotations

import os
import threading

import psutil
import scripts
import work

from tokengate_mp import OperationsCoordinator


def test_it_stays_light(tmp_path):
    """After it has run tokens it has loaded no event loop, no coordinator and no pool."""
    code = """
        import sys
        import work
        from tokengate_mp import OperationsCoordinator

        with OperationsCoordinator(cores=1) as coordinator:
            assert work.square(3).get() == 9
            assert work.echo({"a": (1, 2)}).get() == {"a": (1, 2)}
            try:
                coordinator.submit(divmod, 1, 0).get()
            except ZeroDivisionError:
                pass
            print(*coordinator.submit(work.loaded).get())
    """
    loaded = set(scripts.output(tmp_path / "light.py", code).split())
    assert {"tokengate_mp.worker.crew.crew", "work"} <= loaded
    heavy = {
        "asyncio",
        "multiprocessing",
        "concurrent.futures",
        "subprocess",
        "numpy",
        "psutil",
        "cloudpickle",
        "uvloop",
        "tokengate_mp.coordinator",
        "tokengate_mp.scheduling",
        "tokengate_mp.tokens.token",
        "tokengate_mp.worker_lost",
    }
    assert not heavy & loaded


def test_path_arguments_directory_and_environment(tmp_path):
    """sys.path, sys.argv, the working directory and the environment are the parent's."""
    code = """
        import os
        import sys
        import work
        from tokengate_mp import OperationsCoordinator

        sys.path.insert(1, "/not there:with a colon")
        sys.argv.append("added")
        os.environ["ADDED"] = "by the script"
        with OperationsCoordinator(cores=1) as coordinator:
            seen = coordinator.submit(work.surroundings).get()
        assert seen["path"] == sys.path, seen["path"]
        assert seen["argv"] == sys.argv, seen["argv"]
        assert seen["cwd"] == os.getcwd()
        assert seen["added"] == "by the script"
        print(seen["argv"][1:])
    """
    command = scripts.command(tmp_path / "surroundings.py", code)
    done = scripts.run([*command, "an argument", "", "ünï"], cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("['an argument', '', 'ünï', 'added']\n", "")


def test_interpreter_flags(tmp_path):
    """The flags that the interpreter was started with hold in a core process as well."""
    code = """
        import sys
        import work
        from tokengate_mp import OperationsCoordinator

        with OperationsCoordinator(cores=1) as coordinator:
            flags = coordinator.submit(work.surroundings).get()["flags"]
        for name in ["optimize", "dev_mode", "utf8_mode", "dont_write_bytecode", "no_user_site"]:
            print(name, flags[name] == getattr(sys.flags, name), getattr(sys.flags, name))
    """
    python, *rest = scripts.command(tmp_path / "flags.py", code)
    done = scripts.run([python, "-O", "-Xdev", "-Xutf8=0", "-B", "-s", *rest])
    assert done.stdout.splitlines() == [
        "optimize True 1",
        "dev_mode True True",
        "utf8_mode True 0",
        "dont_write_bytecode True 1",
        "no_user_site True 1",
    ]
    assert done.returncode == 0  # (of slow callbacks -Xdev may complain, on a slow machine)


def test_warning_filters_of_the_command_line(tmp_path):
    """-W holds in a core process: here a warning becomes the token's error."""
    code = """
        import warnings
        import work
        from tokengate_mp import OperationsCoordinator

        with OperationsCoordinator(cores=1) as coordinator:
            try:
                coordinator.submit(warnings.warn, "careful").get()
            except UserWarning as error:
                print(repr(error))
    """
    assert scripts.output(tmp_path / "warns.py", code) == "UserWarning('careful')\n"


def test_numeric_libraries_get_one_thread(monkeypatch):
    """OMP_NUM_THREADS and its like are 1, unless the user has said otherwise."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    with OperationsCoordinator(cores=1) as coordinator:
        seen = [coordinator.submit(os.getenv, name).get(20) for name in names]
    assert seen == ["1", "3", "1"]
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_signal_handler_can_be_set_with_one_thread():
    """With one thread a token runs in the main thread, where Python lets it set a handler."""
    with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
        assert coordinator.submit(work.set_a_handler).get(20) == "handled"


def test_output_of_a_token_is_the_parents(tmp_path):
    """What a token prints appears where the parent's output goes, flushed or not."""
    code = """
        from tokengate_mp import OperationsCoordinator

        with OperationsCoordinator(cores=1) as coordinator:
            coordinator.submit(print, "from a token", flush=True).get()
            coordinator.submit(print, "left in the buffer").get()
    """
    assert scripts.output(tmp_path / "prints.py", code) == "from a token\nleft in the buffer\n"


def test_it_is_gone_when_the_coordinator_is(tmp_path):
    """After the end there is no process, and no thread that was not there before."""
    before = threading.enumerate()
    with OperationsCoordinator(cores=2) as coordinator:
        work.square(2).get(20)
        pids = [core["pid"] for core in coordinator.get_stats()["cores"]]
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert threading.enumerate() == before
