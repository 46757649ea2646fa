"""Whether and when to try again. The rules are tenacity's strategies, so users bring their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from crawler.errors import FetchError
from crawler.result import Failure

if TYPE_CHECKING:
    from tenacity.retry import RetryBaseT
    from tenacity.stop import StopBaseT
    from tenacity.wait import WaitBaseT

MAX_RETRY_AFTER = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`stop`, `wait` and `retry` as tenacity has them; what is left out has the default.

    They see a tenacity `RetryCallState` whose exception is a FetchError with the Failure, or what
    the function raised that was given to `crawler.map`. Defaults:
    stop after the setting `retries`; wait at random up to 0.5, 1, 2 ... 30 s (full jitter); try
    again if the failure is of a passing kind. A `Retry-After` of the server wins over `wait`.
    """

    stop: StopBaseT | None = None
    wait: WaitBaseT | None = None
    retry: RetryBaseT | None = None

    def wait_before(
        self, failure: Failure, *, attempts: int, retries: int, error: Exception | None = None
    ) -> float | None:
        """Seconds until the next attempt after `attempts` of them, or None to give up."""
        import tenacity  # 40 ms, so only once something failed

        state = _call_state(error or FetchError(failure), attempts)
        stop = self.stop or tenacity.stop_after_attempt(retries + 1)
        if not (self.retry(state) if self.retry is not None else failure.retryable) or stop(state):
            return None
        if failure.retry_after is not None:
            return min(failure.retry_after, MAX_RETRY_AFTER)
        wait = self.wait or tenacity.wait_random_exponential(multiplier=0.5, max=30)
        return float(wait(state))


def _call_state(error: Exception, attempts: int) -> Any:
    import tenacity

    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempts
    state.set_exception((type(error), error, None))
    return state


def try_again(
    work: Callable[[], None],
    *,
    attempts: int,
    lasting: tuple[type[BaseException], ...],
    tell: Callable[[BaseException, float], None],
    sleep: Callable[[float], None],
) -> None:
    """Call `work` up to so many times, with growing waits; raises what the last call raises.

    Errors of `lasting` kinds are raised at once; others are told, with the seconds to wait.
    """
    import tenacity

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is not None:
            tell(error, state.upcoming_sleep)

    tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential_jitter(initial=1, max=30),
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Exception) and not isinstance(error, lasting)
        ),
        before_sleep=before_sleep,
        sleep=sleep,
        reraise=True,
    )(work)


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds a `Retry-After` asks for (RFC 9110, 10.2.3: a number or a date), or None."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
