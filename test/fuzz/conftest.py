"""How long the fuzzing lasts: a minute by default, the same each time; `--hypothesis-profile hour` for an hour."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = 100
MOST_BYTES = 2 << 30
"""What the tests of this folder may take beyond what the process has: hostile input must not fill the memory."""

common = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None, "print_blob": True}
settings.register_profile("minute", max_examples=EXAMPLES, derandomize=True, **common)
settings.register_profile("hour", max_examples=100 * EXAMPLES, **common)


def pytest_configure(config: pytest.Config) -> None:
    """The minute is the default."""
    settings.load_profile(config.getoption("--hypothesis-profile") or "minute")


@pytest.fixture(autouse=True, scope="module")
def bounded_memory() -> Iterator[None]:
    """MemoryError where a test takes too much."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
