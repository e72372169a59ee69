"""Texts in many encodings: a text that loads is the one that its sender wrote, letter by letter."""

import codecs
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.lib.examples import examples
from tests.lib.outcomes import Outcome, outcome_of

FRENCH = (
    *("Yaoundé", "Bélabo", "Ngaoundéré", "Édéa", "Garoua-Boulaï", "Marché Nord", "MARCHÉ", "CÔTÉ SUD", "côté nord"),
    *(
        "DÉPÔT CENTRAL",
        "Forêt",
        "Gare où l'on charge",
        "n° 4",
        "« Le Wouri »",
        "l’Œuvre",
        "œuvre",
        "À quai",
        "ÇA",
        "Noël",
    ),
    *("Maïs et cacao", "5 € le sac", "MARCHÉ\u00a0NORD", "Hévéa – lot 2", "Société Générale", "Naïve", "DOUALA", "Île"),
    *("ÎLE", "Aéroport", "Château d’eau"),
)
GERMAN = ("Köln", "Großmarkt", "Müllerstraße", "ÜBERSEE", "Ärzte", "Straße 7")
CHINESE = ("台北車站", "高雄港", "貨物倉庫", "基隆路三號")
WRITTEN_IN = {
    "utf-8": FRENCH + GERMAN + CHINESE,
    "utf-8-sig": FRENCH + GERMAN + CHINESE,
    "utf-16": FRENCH + GERMAN + CHINESE,
    "utf-16-le": FRENCH + GERMAN,
    "utf-16-be": FRENCH + GERMAN,
    "cp1252": FRENCH + GERMAN,
    "latin-1": FRENCH + GERMAN,
    "cp850": FRENCH + GERMAN,
    "mac_roman": FRENCH + GERMAN,
    "big5": CHINESE,
}


def encoded(name: str, texts: Sequence[str]) -> bytes:
    """Return a CSV file of stations; a text that the encoding lacks is written without its odd letters."""
    rows = (f"GAR{chr(65 + number)};{text};Centre;4.1;9.7;{number}" for number, text in enumerate(texts))
    return "\n".join(["code;nom;region;latitude;longitude;km", *rows, ""]).encode(name, "ignore")


def stations(encoding: str, texts: Sequence[str], options: dict[str, object]) -> Outcome | None:
    return outcome_of("gares.csv", encoded(encoding, texts), options, "stations")


def meant(encoding: str, text: str) -> str:
    """Return a text as its file can hold it, with its spaces as the warehouse writes them."""
    return text.encode(encoding, "ignore").decode(encoding).replace("\u00a0", " ")


files = st.sampled_from([*WRITTEN_IN]).flatmap(
    lambda encoding: st.tuples(
        st.just(encoding), st.lists(st.sampled_from(WRITTEN_IN[encoding]), min_size=1, max_size=8)
    )
)


@given(files)
@examples(10_000, quick=100)
def test_a_text_that_loads_is_the_one_that_was_written(file: tuple[str, list[str]]) -> None:
    encoding, texts = file
    outcome = stations(encoding, texts, {})
    for number, row in (outcome.loaded if outcome else {}).items():
        assert row["station_name"] == meant(encoding, texts[number - 2])


@given(files)
@examples(2_000, quick=50)
def test_with_its_encoding_in_the_catalog_every_text_loads(file: tuple[str, list[str]]) -> None:
    encoding, texts = file
    outcome = stations(encoding, texts, {"encoding": codecs.lookup(encoding).name})
    assert outcome
    assert [row["station_name"] for row in outcome.loaded.values()] == [meant(encoding, text) for text in texts]
