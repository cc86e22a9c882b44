"""Profile `fuzz`, for hours instead of seconds: `make test ARGS="tests/fuzz --hypothesis-profile=fuzz"`."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=100_000,
    deadline=None,
    database=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
)
