"""Steps of `prefect deploy`: they compute values that prefect.yaml uses."""

from freight.settings import scales_listeners


def scaling() -> dict[str, bool]:
    """Return whether the schedule of the scaler is switched on."""
    return {"is_on": scales_listeners()}
