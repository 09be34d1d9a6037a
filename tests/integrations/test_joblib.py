"""joblib's Parallel on core processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from textwrap import dedent

import gates
import pytest
import scripts

import tokengate_mp
from tokengate_mp import WorkerLost
from tokengate_mp.config.cpus import usable_cpus

joblib = pytest.importorskip("joblib", reason="joblib is not installed")

import joblib_work  # noqa: E402 - after joblib was found
from joblib import Parallel, delayed  # noqa: E402

from tokengate_mp.integrations import joblib_backend, reserve  # noqa: E402


@pytest.fixture(autouse=True)
def backend():
    """Joblib's backend for the length of a test, and no core process left after it."""
    tokengate_mp.register_joblib_backend()
    with joblib.parallel_config(backend="tokengate", n_jobs=2):
        yield
    tokengate_mp.shutdown_joblib_backend()


@pytest.fixture
def gate():
    """A gate that calls wait at."""
    with gates.Gate() as gate:
        yield gate


def test_results_in_order():
    """However many items there are, and whatever the batches, Parallel gives what a loop does."""
    for count in (0, 1, 7, 3000):
        assert Parallel()(delayed(abs)(-n) for n in range(count)) == list(range(count))
    assert Parallel(batch_size=10)(delayed(pow)(n, 2) for n in range(95)) == [
        n * n for n in range(95)
    ]
    assert Parallel(pre_dispatch="all")(delayed(pow)(n, exp=2) for n in range(9)) == [
        n * n for n in range(9)
    ]


def test_functions_of_every_kind():
    """Lambdas, methods, classes and decorated functions are called as they are in a loop."""
    factor = 3
    calls = [
        delayed(lambda n: n * factor)(2),
        delayed("a-b".split)("-"),
        delayed(complex)(1, 2),
        delayed(tokengate_mp.task_token_guard()(joblib_work.half))(8),
    ]
    assert Parallel()(calls) == [6, ["a", "b"], 1 + 2j, 4]


def test_a_function_is_sent_as_it_is_at_each_call():
    """What it refers to may change between two, also within one `with Parallel()`."""
    values = [1]
    with Parallel() as parallel:
        assert parallel(delayed(lambda: values[0])() for _ in range(3)) == [1] * 3
        values[0] = 2
        assert parallel(delayed(lambda: values[0])() for _ in range(3)) == [2] * 3


def processes(gate, count=2):
    """The processes of a Parallel with so many jobs."""
    calls = [delayed(gates.wait_at)(gate.address)] * count
    waiting = Parallel(n_jobs=count, return_as="generator", batch_size=1)(calls)
    pids = {arrival.pid for arrival in gate.arrivals(count)}
    gate.open()
    assert list(waiting) == [""] * count
    return pids


def test_core_processes_are_reused(gate):
    """The next Parallel runs in the same two; after an explicit shutdown in new ones."""
    first = processes(gate)
    assert len(first) == 2
    assert os.getpid() not in first
    assert processes(gate) == first
    tokengate_mp.shutdown_joblib_backend()
    assert not processes(gate) & first


def test_another_number_of_jobs_takes_the_place_of_the_first(gate):
    """Core processes of one size are kept, not of every size that was asked for once."""
    for jobs in (2, 3, 2):
        assert len(processes(gate, jobs)) == jobs
        assert [kept.kind.workers for kept in reserve._all] == [jobs]


def test_idle_core_processes_end():
    """After idle_worker_timeout nothing is kept, and the next Parallel starts anew."""
    parallel = Parallel(idle_worker_timeout=0.05)
    assert parallel(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
    sweeper = reserve._sweeper
    while sweeper is not None:  # it may look once too early, and then again
        sweeper.join()
        sweeper = reserve._sweeper
    assert reserve._all == []
    assert parallel(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]


def test_how_many_jobs():
    """-1 is every CPU that may be used, None and 1 run here, 0 has no meaning."""
    backend = joblib_backend.TokenGateBackend(nesting_level=0)
    usable = len(usable_cpus())
    assert [backend.effective_n_jobs(n) for n in (-1, -100, None, 1, 5)] == [usable, 1, 1, 1, 5]
    with pytest.raises(ValueError, match="n_jobs == 0"):
        backend.effective_n_jobs(0)
    here = [os.getpid()] * 2
    assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(2)) == here
    with joblib.parallel_config(backend="tokengate", n_jobs=None):
        assert Parallel()(delayed(os.getpid)() for _ in range(2)) == here
    with joblib.parallel_backend("tokengate"):
        assert joblib.effective_n_jobs() == usable


def test_an_exception_arrives_as_itself():
    """With the core's traceback as its cause; and the next Parallel works."""
    with pytest.raises(ValueError, match="7 is odd") as caught:
        Parallel()(delayed(joblib_work.half)(n) for n in [2, 4, 7, 8])
    assert "in half" in str(caught.value.__cause__)
    assert Parallel()(delayed(joblib_work.half)(n) for n in (2, 4)) == [1, 2]


def test_what_cannot_be_sent_raises():
    """Also from the items that are read while others run."""
    lock, nothing = threading.Lock(), (n for n in "")
    items = [*range(20), lock]
    named = r"'joblib_work.take': argument 'item', of type lock, cannot be sent"
    with pytest.raises(tokengate_mp.PayloadError, match=named):
        Parallel(batch_size=1)(delayed(joblib_work.take)(1, item=item) for item in items)
    with pytest.raises(pickle.PicklingError, match=r"'joblib_work.half': argument 1 \('number'\)"):
        Parallel(batch_size=8)(delayed(joblib_work.half)(item) for item in [2, 4, lock])
    with pytest.raises(tokengate_mp.PayloadError, match=r"<lambda>' cannot be sent"):
        Parallel()(delayed(lambda: list(nothing))() for _ in range(3))


def test_a_killed_worker_fails_its_call_alone():
    """The call raises WorkerLost, which says how it died, and the next Parallel works."""
    with pytest.raises(WorkerLost, match="SIGKILL") as caught:
        Parallel()(delayed(joblib_work.die)() for _ in range(4))
    assert isinstance(caught.value, BrokenProcessPool)
    assert Parallel()(delayed(abs)(-n) for n in range(10)) == list(range(10))


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_generators(return_as):
    """They give every result, and two of them may go on at a time."""
    one, two = (
        Parallel(return_as=return_as)(delayed(abs)(sign * n) for n in range(200))
        for sign in (1, -1)
    )
    assert sorted(two) == sorted(one) == list(range(200))


def test_an_unordered_generator_gives_what_is_there(gate):
    """A quick call's result does not wait for a slow one's."""
    slow_first = [delayed(gates.wait_at)(gate.address, "slow"), delayed(str)("quick")]
    results = Parallel(return_as="generator_unordered", batch_size=1)(slow_first)
    assert next(results) == "quick"
    gate.close()
    assert next(results) == "slow"


def test_one_parallel_reads_another():
    """Results of one may be the items of the next, though both use the same core processes."""
    halves = Parallel(return_as="generator")(delayed(joblib_work.half)(2 * n) for n in range(300))
    assert Parallel()(delayed(str)(n) for n in halves) == [str(n) for n in range(300)]


def test_a_generator_that_is_dropped_ends_its_calls(gate):
    """Those that run are interrupted, and the next Parallel has the core processes."""
    held = [delayed(joblib_work.hold)(gate.address)] * 10
    results = Parallel(return_as="generator", batch_size=1)(held)
    gate.arrivals(2)
    with pytest.warns(UserWarning, match="cancelled"):
        results.close()
    assert Parallel()(delayed(abs)(-n) for n in range(10)) == list(range(10))


def test_a_timeout_ends_what_runs(gate):
    """The call raises, and neither what runs nor its processes stand in the way of the next."""
    held = [delayed(joblib_work.hold)(gate.address)] * 2
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2)(held)
    assert Parallel(timeout=20)(delayed(abs)(-n) for n in range(10)) == list(range(10))


def test_an_error_ends_what_runs(gate):
    """The other calls of a Parallel that has failed are not waited for."""
    calls = [delayed(joblib_work.hold)(gate.address), delayed(joblib_work.half)(1)]
    with pytest.raises(ValueError, match="1 is odd"):
        Parallel(batch_size=1)(calls)
    assert Parallel()(delayed(abs)(-n) for n in range(10)) == list(range(10))


def test_batches_grow():
    """Short calls go many to a batch, without being asked."""
    sizes = []

    class Counting(joblib_backend.TokenGateBackend):
        def batch_completed(self, batch_size, duration):
            sizes.append(batch_size)
            super().batch_completed(batch_size, duration)

    results = Parallel(n_jobs=2, backend=Counting())(delayed(abs)(-n) for n in range(20_000))
    assert results == list(range(20_000))
    assert sum(sizes) == 20_000
    assert max(sizes) > 100


def test_a_parallel_within_a_call_starts_no_process():
    """It runs in threads, one level deep, as under loky; and below that one after the other."""
    for pid, name, inner in Parallel()(delayed(joblib_work.within)(3) for _ in range(4)):
        assert name == "ThreadingBackend"
        assert {each[0] for each in inner} == {pid}
        assert {each[2] for each in inner} == {"SequentialBackend"}
    for options in ({"prefer": "processes"}, {"backend": "tokengate"}):
        calls = [delayed(joblib_work.within)(2, **options)] * 2
        for pid, _name, inner in Parallel()(calls):
            assert pid != os.getpid()
            assert {each[0] for each in inner} == {pid}


def limits(**options):
    """What `OMP_NUM_THREADS` is in each of two calls, and how many CPUs a call may use."""
    calls = [delayed(joblib_work.threads_and_cpus)()] * 2
    (found,) = set(Parallel(**options)(calls))
    return found


def test_threads_of_numeric_libraries():
    """Their share of the CPUs, or what is said by the environment or asked for, with CPUs."""
    usable = len(usable_cpus())
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)
        assert limits(n_jobs=2)[0] == str(max(usable // 2, 1))
        patch.setenv("OMP_NUM_THREADS", "3")
        assert limits(n_jobs=2) == ("3", len(os.sched_getaffinity(0)))
        for threads, cpus in ((1, 1), (2, len(os.sched_getaffinity(0)))):
            with joblib.parallel_config("tokengate", n_jobs=2, inner_max_num_threads=threads):
                assert limits() == (str(threads), cpus)


def test_an_initializer_runs_first():
    """In each core process, named with the backend or the Parallel; equal ones share processes."""
    options = {"initializer": joblib_work.set_variable, "initargs": ("G_JOBLIB", "on")}
    look = [delayed(joblib_work.variable)("G_JOBLIB")] * 4
    assert Parallel(**options)(look) == ["on"] * 4
    kept = reserve._all[0]
    assert Parallel(**options)(look) == ["on"] * 4
    assert reserve._all == [kept]
    with joblib.parallel_config("tokengate", n_jobs=2, **options):
        assert Parallel()(look) == ["on"] * 4
        assert reserve._all == [kept]
        other = {**options, "initargs": ("G_JOBLIB", "other")}
        assert Parallel(**other)(look) == ["other"] * 4
    assert Parallel()(look) == [None] * 4
    with pytest.raises(TypeError, match="initializer must be callable"):
        Parallel(initializer=3)(look)


def test_arguments_of_an_initializer_that_cannot_be_compared():
    """Arrays say neither yes nor no: then processes are started anew."""
    numpy = pytest.importorskip("numpy")
    for _ in range(2):
        arguments = (numpy.zeros(3), numpy.zeros(3))
        options = {"initializer": joblib_work.take, "initargs": arguments}
        assert Parallel(**options)([delayed(abs)(-1)] * 2) == [1, 1]


def test_what_an_initializer_raises():
    """Every call has it as its cause, and the next Parallel works."""
    with pytest.raises(BrokenProcessPool) as caught:
        Parallel(initializer=joblib_work.half, initargs=(3,))([delayed(abs)(-1)] * 2)
    assert "3 is odd" in str(caught.value)
    assert Parallel()([delayed(abs)(-1)] * 2) == [1, 1]


def test_locks_and_counters_by_initargs(tmp_path):
    """As in a pool of multiprocessing, whichever context has made them."""
    code = """
        import multiprocessing
        import joblib, tokengate_mp
        tokengate_mp.register_joblib_backend()
        def take(given):
            global counter
            counter = given
        def count(n):
            with counter.get_lock():
                counter.value += n
        for method in ("fork", "spawn"):
            made = multiprocessing.get_context(method).Value("i", 0)
            joblib.Parallel(2, backend="tokengate", initializer=take, initargs=(made,))(
                joblib.delayed(count)(n) for n in range(10)
            )
            print(made.value)
    """
    assert scripts.output(tmp_path / "counter.py", code) == "45\n45\n"


def test_a_keyboard_interrupt_of_a_call_arrives_as_itself():
    """With the core's traceback as its cause; and the next Parallel works."""
    with pytest.raises(KeyboardInterrupt, match="at 2") as caught:
        Parallel()(delayed(joblib_work.interrupt_at_two)(n) for n in range(4))
    assert "in interrupt_at_two" in str(caught.value.__cause__)
    assert Parallel()([delayed(abs)(-1)] * 2) == [1, 1]


def test_a_parallel_in_the_worker_of_a_pool_warns():
    """It has one job there, as it has under loky, and so has one in another's threads."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(joblib_work.warned_within, ("tokengate", 2)) == (1, True)
        assert pool.apply(joblib_work.warned_within, ("tokengate", 1)) == (1, False)
    calls = [delayed(joblib_work.effective)("tokengate", 2)] * 2
    with pytest.warns(UserWarning, match="cannot be nested in threads of another Parallel"):
        assert Parallel(2, backend="threading")(calls) == [1, 1]
    for backend, warned in (("multiprocessing", True), ("tokengate", False)):
        calls = [delayed(joblib_work.warned_within)(backend, 2)] * 2
        assert Parallel()(calls) == [(1, warned)] * 2


def test_a_core_process_does_without_joblib():
    """It loads joblib when a call needs it, and is ready sooner."""
    tokengate_mp.shutdown_joblib_backend()
    assert not any(Parallel()(delayed(joblib_work.loaded)("joblib") for _ in range(4)))


def test_from_threads():
    """Parallel may be called from any thread, and several at a time."""
    results = {}

    def run(sign):
        with joblib.parallel_config(backend="tokengate", n_jobs=2):
            results[sign] = Parallel()(delayed(int)(sign * n) for n in range(500))

    threads = [threading.Thread(target=run, args=(sign,)) for sign in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {sign: [sign * n for n in range(500)] for sign in (1, 2, 3)}


def test_an_option_that_does_not_exist_is_refused():
    """It is named, with those that there are."""
    with pytest.raises(TypeError, match="no option 'colour'"):
        joblib.parallel_config(backend="tokengate", colour="red")
    with pytest.raises(TypeError, match="no option 'colour'"):
        Parallel(colour="red")([delayed(abs)(1)])


def test_a_fork_starts_its_own():
    """A forked child does not use its parent's core processes."""
    assert Parallel()([delayed(abs)(-1)]) == [1]
    assert reserve._all
    pid = os.fork()
    if not pid:
        os._exit(len(reserve._all))
    assert os.waitpid(pid, 0)[1] == 0


def test_without_joblib_it_says_what_to_install():
    """One line, and what to type."""
    code = (
        "import sys; sys.modules['joblib'] = None\n"
        "import tokengate_mp\n"
        "try: tokengate_mp.register_joblib_backend()\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tokengate_mp[joblib]'" in done.stdout


def test_as_the_default(tmp_path):
    """With make_default every Parallel that names no backend uses it; and at exit all is gone."""
    code = """
        import os
        import joblib, psutil, tokengate_mp
        tokengate_mp.register_joblib_backend(make_default=True)
        class Point:
            def __init__(self, x): self.x = x
        def move(point): return Point(point.x + 1)
        moved = joblib.Parallel(n_jobs=2)(joblib.delayed(move)(Point(n)) for n in range(5))
        print([type(point) is Point and point.x for point in moved])
        print(*(child.pid for child in psutil.Process().children()))
    """
    values, pids = scripts.output(tmp_path / "default.py", code).splitlines()
    assert values == "[1, 2, 3, 4, 5]"
    assert len(pids.split()) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.split())


def test_a_generator_at_exit_holds_nothing_up(tmp_path):
    """What nobody has asked for is not computed to its end when the interpreter ends."""
    code = """
        import time
        import joblib, tokengate_mp
        import warnings; warnings.simplefilter("ignore")
        tokengate_mp.register_joblib_backend()
        parallel = joblib.Parallel(n_jobs=2, backend="tokengate", return_as="generator")
        results = parallel(joblib.delayed(time.sleep)(100) for _ in range(10))
        print("left")
    """
    assert scripts.output(tmp_path / "generator.py", code) == "left\n"


def test_the_same_as_loky(tmp_path):
    """A script gets equal results, and equal errors, from either."""
    code = """
        import warnings; warnings.simplefilter("ignore")
        import joblib, tokengate_mp
        tokengate_mp.register_joblib_backend()
        def work(n):
            inner = joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(n, k) for k in range(3))
            return sum(inner), {n}, (n, str(n))
        def run(name):
            with joblib.parallel_config(backend=name, n_jobs=2):
                good = joblib.Parallel()(joblib.delayed(work)(n) for n in range(20))
                try:
                    joblib.Parallel()(joblib.delayed(divmod)(1, n) for n in (2, 1, 0))
                except ZeroDivisionError as error:
                    return good, type(error), str(error)
        print(run("tokengate") == run("loky"))
    """
    assert scripts.output(tmp_path / "both.py", code) == "True\n"


@pytest.mark.timeout(120)  # three processes import scikit-learn
def test_scikit_learn():
    """GridSearchCV and cross_val_score find what they find in one process."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    code = """
        import warnings; warnings.simplefilter("ignore")
        import joblib, tokengate_mp
        from sklearn.datasets import load_iris
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import GridSearchCV, cross_val_score
        from sklearn.tree import DecisionTreeClassifier
        tokengate_mp.register_joblib_backend()
        X, y = load_iris(return_X_y=True)
        grid = {"max_depth": [1, 3], "min_samples_leaf": [1, 5]}
        def run(jobs):
            with joblib.parallel_config(backend="tokengate", n_jobs=jobs):
                search = GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=3)
                search.fit(X, y)
                forest = RandomForestClassifier(n_estimators=5, random_state=0, n_jobs=jobs)
                scores = cross_val_score(forest, X, y, cv=3)
            results = {k: v.tolist() for k, v in search.cv_results_.items()
                       if "score" in k and "time" not in k}
            return search.best_params_, results, scores.tolist()
        print(run(2) == run(1))
    """
    command = [sys.executable, "-c", dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert (done.stdout, done.stderr) == ("True\n", "")
