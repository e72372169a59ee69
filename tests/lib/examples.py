"""How many examples a property is tried on: a third of its number in most runs, all of them in `make chaos`."""

from hypothesis import HealthCheck, settings

THOROUGH, QUICK = "thorough", "quick"
SHARE = {THOROUGH: 1, QUICK: 3}


def register_profiles() -> None:
    """Make the profiles known, and take the quick one; neither has a deadline, since machines differ in speed."""
    for name in SHARE:
        settings.register_profile(name, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(QUICK)


def examples(number: int, **more: object) -> settings:
    """Return the settings of a property.

    Args:
        number: Examples of a thorough run.
        more: Further settings of Hypothesis.
    """
    profile = settings.get_current_profile_name()
    return settings(max_examples=max(1, number // SHARE.get(profile, 1)), **more)  # type: ignore[arg-type]
