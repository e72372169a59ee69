"""Units of measure, as people write them."""

SPELLINGS = {
    "t": "tonnes",
    "tonne": "tonnes",
    "kg": "kg",
    "km": "km",
    "m": "m",
    "m3": "m³",
    "l": "litres",
    "s": "seconds",
    "min": "minutes",
    "h": "hours",
    "pct": "%",
    "bar": "bar",
    "deg": "degrees",
    "°": "degrees",
    "°c": "degrees Celsius",
    "t/h": "tonnes per hour",
    "fcfa": "FCFA",
    "xaf": "XAF",
    "eur": "EUR",
    "€": "EUR",
}


def unit_of(written: str) -> str:
    """Return a unit as contracts name it, such as tonnes for t; an unknown one as it is written."""
    text = written.strip()
    return SPELLINGS.get(text.lower(), text)
