"""The number of examples for a property: a third of its number in most runs, all of them in `make chaos`."""

from hypothesis import HealthCheck, settings

THOROUGH, QUICK = "thorough", "quick"


def register_profiles() -> None:
    """Register the profiles, and load the quick one; neither has a deadline, since machines differ in speed."""
    for name in (THOROUGH, QUICK):
        settings.register_profile(name, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(QUICK)


def examples(number: int, quick: int | None = None, **more: object) -> settings:
    """Return the settings of a property.

    Args:
        number: The number of examples in a thorough run.
        quick: The number of examples in a quick run; by default a third of `number`.
        more: Further settings of Hypothesis.
    """
    if settings.get_current_profile_name() != THOROUGH:
        number = quick or max(1, number // 3)
    return settings(max_examples=number, **more)  # type: ignore[arg-type]
