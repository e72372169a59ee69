"""Numbers of things in words."""


def counted(number: int, thing: str, several: str = "") -> str:
    """Return a number and its things, such as `1 row` and `1,200 rows`.

    Args:
        number: The number.
        thing: The name of one thing.
        several: The name of several; by default with an `s`.
    """
    return f"{number:,} {thing if number == 1 else several or f'{thing}s'}"
