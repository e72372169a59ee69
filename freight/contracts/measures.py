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


ALIKE = (  # units of one kind: a file may have one of them, and its contract another
    ("tonnes", "kg", "g", "lb", "lbs"),
    ("km", "m", "mm", "miles"),
    ("hours", "minutes", "seconds"),
    ("m³", "litres"),
)


def other_units(unit: str) -> list[str]:
    """Return the spellings, in lower case, of the other units of a unit's kind."""
    others = {other for kind in ALIKE if unit in kind for other in kind if other != unit}
    return [*others, *(written for written, other in SPELLINGS.items() if other in others)]


def unit_of(written: str) -> str:
    """Return a unit as contracts name it, such as tonnes for t; an unknown one as it is written."""
    text = written.strip()
    return SPELLINGS.get(text.lower(), text)
