"""Guards the engine that runs jobs in this process: every part once, one write at a time, errors and stops at once."""

import threading
import time

import pytest

from Activation_Extraction.base.engine import local


class Squares:
    """A job of numbers; takes parts ahead of what it gives, as decoding ahead of a network does."""

    def __init__(self, fail_at=None):
        self.fail_at, self.closed = fail_at, threading.Event()

    def compute(self, parts, advance):
        try:
            ahead = []
            for part in parts:
                ahead.append(part)
                if len(ahead) == 2:
                    yield self._result(ahead.pop(0))
                advance(1)
            yield from map(self._result, ahead)
        finally:
            self.closed.set()

    def _result(self, part):
        if part == self.fail_at:
            raise KeyboardInterrupt
        return part, part**2


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_every_part_is_kept_once_and_one_at_a_time(devices, count):
    kept, steps, writing = {}, [], threading.Lock()

    def keep(part, result):
        assert writing.acquire(blocking=False)
        time.sleep(0.001)
        assert part not in kept
        kept[part] = result
        writing.release()

    local([Squares() for _ in range(devices)], range(count), keep, steps.append)
    assert kept == {part: part**2 for part in range(count)}
    assert sum(steps) == count


@pytest.mark.parametrize("devices", [1, 2])
def test_what_was_given_before_a_stop_is_kept_and_the_job_is_closed(devices):
    kept, jobs = [], [Squares(fail_at=4) for _ in range(devices)]
    with pytest.raises(KeyboardInterrupt):
        local(jobs, range(10), lambda part, result: kept.append(part), lambda count: None)
    assert {0, 1, 2, 3} <= {*kept, 4}
    assert 4 not in kept
    assert all(job.closed.is_set() for job in jobs)


@pytest.mark.parametrize("devices", [1, 2])
def test_an_error_of_writing_ends_the_run(devices):
    jobs, calls = [Squares() for _ in range(devices)], []

    def keep(part, result):
        calls.append(part)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        local(jobs, range(1000), keep, lambda count: None)
    assert len(calls) < 20
    assert all(job.closed.is_set() for job in jobs)
