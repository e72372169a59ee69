"""The encoding of a text file is what all of its bytes say, and where they do not say it the file is refused."""

import io

import pytest

from freight.errors import SourceError
from freight.readers.encodings import START_BYTES, detect_encoding

HEADER = "id;site;volume\n"
FRENCH = "1;Yaoundé;12\n2;Gare de Bélabo – côté nord;3\n3;n° 4, « l’œuvre » à 5 €;3\n4;DÉPÔT CENTRAL;1\n"
EITHER = "1;MARCHÉ\u00a0NORD;3\n"
ASCII = "9;Douala;1\n" * START_BYTES  # so that what follows is in another block


def detect(content: bytes, declared: str | None = None) -> tuple[str, bool]:
    return detect_encoding(content[:START_BYTES], io.BytesIO(content[START_BYTES:]), declared)


@pytest.mark.parametrize("ahead", ["", ASCII])
@pytest.mark.parametrize(
    ("text", "written_in", "detected"),
    [
        (FRENCH, "utf-8", "utf-8"),
        (FRENCH, "utf-8-sig", "utf-8"),
        (FRENCH, "cp1252", "cp1252"),
        (FRENCH, "utf-16", "utf-16"),
        (FRENCH, "utf-16-le", "utf-16-le"),
        (FRENCH, "utf-16-be", "utf-16-be"),
        ("1;Garoua café;3\n" + EITHER, "cp1252", "cp1252"),
        ("1;Garoua café;3\n" + EITHER, "utf-8", "utf-8"),
        (EITHER, "utf-8", "utf-8"),
        ("1;ÇA ALLAIT :;1\n2;À L’ÉCOLE…;3\n", "cp1252", "cp1252"),
        ("1;Großmarkt Köln;3\n2;Señor Núñez;4\n3;½ m³;5\n", "cp1252", "cp1252"),
        ("1;مرحبا بالعالم;3\n", "utf-8", "utf-8"),
        ("1;頻繁;3\n", "utf-8", "utf-8"),
        ("1;Łódź;3\n", "utf-8", "utf-8"),
        ("1;😀;3\n", "utf-8", "utf-8"),
        ("1;plain;3\n", "ascii", "utf-8"),
    ],
)
def test_the_whole_file_tells_its_encoding(ahead: str, text: str, written_in: str, detected: str) -> None:
    assert detect((HEADER + ahead + text).encode(written_in)) == (detected, False)


@pytest.mark.parametrize("ahead", ["", ASCII])
@pytest.mark.parametrize(
    ("text", "written_in"),
    [
        ("1;Garoua café;3\n2;Bélabo;4\n", "cp850"),
        ("1;Garoua café;3\n2;Bélabo;4\n", "mac_roman"),
        ("1;Yaoundé;3\n", "mac_roman"),
        ("1;Yaoundé;3\n", "cp437"),
        ("1;台北車站的貨物;3\n2;高雄港口倉庫;4\n", "big5"),
        ("1;北京货运站;3\n2;上海仓库;4\n", "gb18030"),
        ("1;東京貨物駅;3\n2;大阪倉庫;4\n", "shift_jis"),
    ],
)
def test_a_text_of_another_encoding_is_refused_once_and_the_option_is_named(
    ahead: str, text: str, written_in: str
) -> None:
    with pytest.raises(SourceError, match=r"neither UTF-8 nor cp1252.*options: \{encoding: ") as refused:
        detect((HEADER + ahead + text).encode(written_in))
    assert refused.value.fault == "unknown_encoding"
    assert detect(text.encode(written_in), written_in) == (written_in, False)


@pytest.mark.parametrize(
    ("text", "written_in"),
    [
        ("1;北京货运站;3\n2;深圳仓库（南）;4\n3;重庆，成都;5\n", "gbk"),
        ("1;北京货运站;3\n2;上海仓库;4\n", "gb18030"),
        ("1;台北車站的貨物;3\n2;高雄港口倉庫;4\n", "big5"),
        ("1;臺灣;3\n2;機器;4\n", "big5"),
        ("1;東京貨物駅;3\n2;大阪のトラック;4\n", "shift_jis"),
        ("1;Москва порт;3\n2;Казань;4\n", "cp1251"),
        ("1;Garoua café;3\n2;Bélabo;4\n", "cp850"),
    ],
)
def test_the_encoding_that_reads_the_lines_best_is_named_first(text: str, written_in: str) -> None:
    with pytest.raises(SourceError) as refused:
        detect((HEADER + text).encode(written_in))
    named = "gb18030" if written_in == "gbk" else written_in
    first = text.split(";")[1]
    assert f"such as `options: {{encoding: {named}}}`" in refused.value.remedy
    assert f"Likely readings: {named} reads {first!r}" in refused.value.remedy


def test_bytes_that_two_encodings_explain_are_refused_with_both_readings() -> None:
    with pytest.raises(SourceError, match=r"UTF-8 \('MARCHɠNORD'\) or cp1252 \('MARCHÉ\\xa0NORD'\)") as refused:
        detect((HEADER + EITHER).encode("cp1252"))
    assert refused.value.fault == "unknown_encoding"
    for declared in ("cp1252", "utf-8"):
        assert detect((HEADER + EITHER).encode("cp1252"), declared) == (declared, False)


@pytest.mark.parametrize(
    ("text", "written_in", "as_cp1252"),
    [("À quai", "cp850", "· quai"), ("N° 4", "mac_roman", "N¡ 4"), ("HÔTEL", "cp1252", "HÔTEL")],
)
def test_a_text_that_also_makes_sense_in_ms_dos_or_on_a_mac_is_refused_until_another_line_decides(
    text: str, written_in: str, as_cp1252: str
) -> None:
    content = f"{HEADER}1;{text};3\n".encode(written_in)
    with pytest.raises(SourceError, match=rf"the bytes can be (?:cp850|mac_roman) \(.*\) or cp1252 \('{as_cp1252}'\)"):
        detect(content)
    assert detect(content, written_in) == (written_in, False)
    assert detect(content + "2;Garoua café;1\n".encode("cp1252")) == ("cp1252", False)


@pytest.mark.parametrize("text", ["BŽlabo", "NOèL", "ëLE", "CâTE"])
def test_a_word_of_upper_and_lower_case_letters_is_no_cp1252(text: str) -> None:
    with pytest.raises(SourceError, match=f"in cp1252 they contain '{text}'.*if the text above is right"):
        detect(f"{HEADER}1;{text};3\n".encode("cp1252"))


@pytest.mark.parametrize("text", ["LibelléArticle", "SociétéGénérale", "état", "Île de Manoka", "n° 4", "“gare”", "m³"])
def test_usual_text_of_cp1252_needs_no_option(text: str) -> None:
    assert detect(f"{HEADER}1;{text};3\n".encode("cp1252")) == ("cp1252", False)


@pytest.mark.parametrize("ahead", ["", ASCII])
def test_utf_8_with_a_few_stray_bytes_stays_utf_8(ahead: str) -> None:
    content = (HEADER + ahead + FRENCH).encode() + b"7;Yaound\xe9;1\n"
    assert detect(content) == ("utf-8", True)
