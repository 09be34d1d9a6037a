"""Functions that tokens call in tests of the engine, most of which nobody calls."""

from __future__ import annotations

from tokengate_mp import CircuitBreaker, task_token_guard


@task_token_guard(operation_type="work")
def work(*args):
    """Return the arguments."""
    return args


@task_token_guard(operation_type="double")
def double(number):
    """Return twice a number."""
    return number * 2


other = work.options(operation_type="other")
sticky = work.options(operation_type="sticky", sticky_anchor="engine")
limited = work.options(operation_type="limited", max_running=1)
timed = work.options(operation_type="timed", timeout=1.0)
retried = work.options(operation_type="retried", retries=2, backoff=1.0)
impatient = work.options(operation_type="impatient", retries=2)
idempotent = work.options(operation_type="idempotent", idempotent=True)
alone = work.options(operation_type="alone", exclusive=True)
lead = work.options(operation_type="lead", external_calls=["work"])
broken = work.options(
    operation_type="broken",
    breaker=CircuitBreaker(failure_share=0.5, window=60.0, minimum=2, pause=10.0),
)
