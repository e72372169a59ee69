"""Keys that look alike: they become one key or are quarantined, and no loaded key holds what nobody sees."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tests.lib.examples import examples
from tests.lib.outcomes import outcome_of

UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202a"
SPACES = " \u00a0\u202f\u2009\t"
NAMES = ("Bélabo", "Ngaoundéré", "Garoua Boulaï", "Édéa", "Douala")

looks = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(("NFC", "NFD")),
    st.text(SPACES, max_size=2),
    st.text(SPACES, max_size=2),
    st.one_of(st.just(""), st.sampled_from(UNSEEN)),
    st.integers(0, 12),
    st.sampled_from(SPACES.strip("\t")),
)


def written(look: tuple[str, str, str, str, str, int, str]) -> str:
    """Return a name as somebody typed or pasted it."""
    name, form, before, after, unseen, place, space = look
    text = unicodedata.normalize(form, name.replace(" ", space))  # type: ignore[arg-type]
    return before + text[:place] + unseen + text[place:] + after


@given(st.lists(looks, min_size=1, max_size=8))
@examples(10_000, quick=100)
def test_texts_that_look_alike_become_one_or_are_quarantined(
    names: list[tuple[str, str, str, str, str, int, str]],
) -> None:
    rows = [f'MCH-{100 + number};"{written(look)}";2010' for number, look in enumerate(names)]
    content = "\n".join(["id;site;annee_installation", *rows, ""]).encode()
    outcome = outcome_of("parc.csv", content, {"encoding": "utf-8"}, "machines")
    assert outcome
    assert outcome.loaded.keys() | outcome.quarantined == {number + 2 for number in range(len(names))}
    for number, row in outcome.loaded.items():
        assert row["site_location"] == names[number - 2][0]
    assert outcome.quarantined == {number + 2 for number, look in enumerate(names) if look[4]}


@given(st.lists(looks, min_size=1, max_size=8))
@examples(2_000, quick=50)
def test_a_key_with_a_character_that_nobody_sees_never_loads(
    keys: list[tuple[str, str, str, str, str, int, str]],
) -> None:
    spoilt = [(f"TRX-{number}", look) for number, look in enumerate(keys)]
    rows = [f'"{written((key, *look[1:]))}",MCH-001,2026-02-01 10:00:00,5,OK' for key, look in spoilt]
    content = "\n".join(["id,machine,date,volume,statut", *rows, ""]).encode()
    outcome = outcome_of("erp.csv", content, {"encoding": "utf-8"})
    assert outcome
    loaded = {row["transaction_id"] for row in outcome.loaded.values()}
    assert loaded == {key for key, look in spoilt if not look[4]}
