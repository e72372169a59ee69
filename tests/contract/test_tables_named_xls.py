"""HTML tables and XML spreadsheets of 2003, which many programs call .xls: every cell is read, and none is guessed."""

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.contract.test_sheets import HEADER, read, refusal

CELLS = ["TRX-1", "MCH-001", "01/02/2026 10:00", "1 250,50", "OK"]
ROW = (*CELLS, 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.xls"


def tr(*cells: str, tag: str = "td", attributes: str = "") -> str:
    return f"<tr {attributes}>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def table(*rows: str) -> str:
    return f"<table><thead>{tr(*HEADER, tag='th')}</thead><tbody>{''.join(rows)}</tbody></table>"


def page(*tables: str, head: str = '<meta charset="utf-8">') -> str:
    return f"<html><head>{head}</head><body><h1>Export</h1>{''.join(tables)}</body></html>"


def test_a_table_of_a_page_is_read_as_the_text_that_it_shows(path: Path) -> None:
    path.write_text(page(table(tr(*CELLS), tr("00042", "", "1.250", "=1+1", "n&eacute;"))), encoding="utf-8")
    found = read(path)
    assert found.header == tuple(HEADER)
    assert found.rows == [ROW, ("00042", "", "1.250", "=1+1", "né", 3)]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<b>TRX</b>-<i>1</i>", "TRX-1"),
        ("  TRX \n  1 ", "TRX 1"),
        ("TRX<br>1", "TRX\n1"),
        ("&nbsp;TRX&nbsp;1&nbsp;", "TRX\xa01"),
        ("TRX-1<!-- no --><script>x = 1</script>", "TRX-1"),
        ("&lt;b&gt;", "<b>"),
        ("x<table><tr><td>inner</td></tr></table>y", "xy"),
    ],
)
def test_a_cell_is_the_text_that_a_browser_shows(path: Path, html: str, text: str) -> None:
    path.write_text(page(table(tr(html, *CELLS[1:]))), encoding="utf-8")
    assert read(path).rows[0][0] == text


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', "cp1252"),
        ('<meta charset="iso-8859-1">', "cp1252"),
        ("<META CHARSET=utf-8>", "utf-8"),
        ("", "utf-8"),
        ("", "utf-16"),
        ('<meta charset="iso-8859-1">', "utf-8-sig"),
    ],
)
def test_the_encoding_is_the_one_that_the_page_names(path: Path, head: str, encoding: str) -> None:
    path.write_bytes(page(table(tr("Marché €", *CELLS[1:])), head=head).encode(encoding))
    assert read(path).rows[0][0] == "Marché €"


def test_an_unknown_encoding_is_asked_for_and_never_guessed(path: Path) -> None:
    path.write_bytes(page(table(tr("Marché", *CELLS[1:])), head="").encode("cp1252"))
    error = refusal(path)
    assert (error.fault, "`encoding: cp1252`" in error.remedy) == ("unknown_encoding", True)
    assert read(path, encoding="cp1252").rows[0][0] == "Marché"


def test_cells_over_rows_and_columns_keep_their_neighbours_in_place(path: Path) -> None:
    second = "<tr><td>TRX-2</td><td>01/02/2026 11:00</td><td>3</td><td>OK</td></tr>"
    first = tr(*CELLS).replace("<td>MCH-001", '<td rowspan="2">MCH-001')
    wide = '<tr><td>TRX-3</td><td colspan="2">MCH-002</td><td>3</td><td>OK</td></tr>'
    path.write_text(page(table(first, second, wide)), encoding="utf-8")
    found = read(path)
    assert found.rows == [ROW, ("TRX-2", "MCH-001", "01/02/2026 11:00", "3", "OK", 3)]
    assert [(bad.row_number, bad.reason) for bad in found.faults] == [(4, "merged_cells")]


def test_tables_with_one_header_are_read_together_and_hidden_rows_are_told(path: Path) -> None:
    menu = "<table><tr><td>Home</td></tr></table>"
    hidden = tr("TRX-2", *CELLS[1:], attributes='style="display: none"')
    path.write_text(page(menu, table(tr(*CELLS)), table(hidden)), encoding="utf-8")
    found = read(path)
    assert found.keys == [("TRX-1", 2), ("TRX-2", 10_000_002)]
    assert found.remarks == [
        "read the sheets 'table 2', 'table 3'",
        "not read, with another header: 'table 1'",
        "read like the others: 1 hidden or filtered row of the sheet 'table 3': 2",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (page(table(tr(*CELLS) * 50))[:2_000], "corrupt"),
        ("<!DOCTYPE html><html><body>Please sign in</body></html>", "unsupported"),
        ("MIME-Version: 1.0\nContent-Type: multipart/related\n\n<html><table></table>", "unsupported"),
        (f"<html><body>{'<div>' * 5_000}{table(tr(*CELLS))}", "unsupported"),
    ],
    ids=["cut off", "a login page", "a web archive", "nested too deep"],
)
def test_a_page_without_a_whole_table_is_refused(path: Path, content: str, fault: str) -> None:
    path.write_text(content, encoding="utf-8")
    assert refusal(path).fault == fault


@pytest.mark.apart
def test_a_page_is_parsed_apart_and_fetches_nothing(path: Path) -> None:
    outside = '<!DOCTYPE html [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    path.write_text(outside + page(table(tr("&e;", *CELLS[1:]))), encoding="utf-8")
    assert read(path).rows[0][0] == "&e;"


XML = """<?xml version="1.0"?>
<?mso-application progid="Excel.Sheet"?>
<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" xmlns:x="urn:schemas-microsoft-com:office:excel"
 xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">
 <Styles>
  <Style ss:ID="code"><NumberFormat ss:Format="00000"/></Style>
  <Style ss:ID="hours"><NumberFormat ss:Format="[h]:mm:ss"/></Style>
 </Styles>{sheets}
</Workbook>"""


def sheet(name: str, *rows: str, columns: str = "", options: str = "") -> str:
    header = xml_row(*(data("String", cell) for cell in HEADER))
    return (
        f'<Worksheet ss:Name="{name}"><Table>{columns}{header}{"".join(rows)}</Table>'
        f'<WorksheetOptions xmlns="urn:schemas-microsoft-com:office:excel">{options}</WorksheetOptions></Worksheet>'
    )


def xml_row(*cells: str, attributes: str = "") -> str:
    return f"<Row {attributes}>{''.join(cells)}</Row>"


def data(kind: str, text: str, attributes: str = "") -> str:
    return f'<Cell {attributes}><Data ss:Type="{kind}">{escape(text)}</Data></Cell>'


def transaction(number: int, *, volume: str = data("Number", "12.5"), attributes: str = "") -> str:
    when = data("DateTime", "2026-02-01T10:00:00.000")
    texts = (data("String", f"TRX-{number}"), data("String", "MCH-001"), when, volume, data("String", "OK"))
    return xml_row(*texts, attributes=attributes)


XML_CELLS: Mapping[str, tuple[str, str]] = {
    "a number": (data("Number", "12.5"), "12.5"),
    "a whole number": (data("Number", "1E3"), "1000"),
    "a code": (data("Number", "42", 'ss:StyleID="code"'), "00042"),
    "a day": (data("DateTime", "2026-02-01T00:00:00.000"), "2026-02-01 00:00:00"),
    "a time": (data("DateTime", "1899-12-31T09:30:00.000"), "09:30:00"),
    "a duration": (data("DateTime", "1900-01-01T02:30:00.000", 'ss:StyleID="hours"'), "26:30"),
    "yes": (data("Boolean", "1"), "true"),
    "a text": (data("String", " 0042\n=x"), " 0042\n=x"),
    "formats within a text": ("<Cell><ss:Data ss:Type='String'><B>a</B>b</ss:Data></Cell>", "ab"),
}


def test_cells_of_an_xml_spreadsheet_are_read_by_their_types(path: Path) -> None:
    rows = [transaction(number, volume=cell) for number, (cell, _) in enumerate(XML_CELLS.values())]
    path.write_text(XML.format(sheets=sheet("Data", *rows)), encoding="utf-8")
    found = read(path)
    assert dict(zip(XML_CELLS, [cells[3] for cells in found.rows], strict=True)) == {
        name: text for name, (_, text) in XML_CELLS.items()
    }
    assert found.rows[0] == ("TRX-0", "MCH-001", "2026-02-01 10:00:00", "12.5", "OK", 2)


def test_cells_without_a_value_of_an_xml_spreadsheet_are_faults(path: Path) -> None:
    cells = {
        data("Error", "#N/A"): "the cell holds the error #N/A",
        '<Cell ss:Formula="=1+1"/>': "the cell holds a formula without a result",
        data("Number", "abc"): "the cell holds abc, which its format cannot show",
        data("Boolean", "7"): "the cell holds '7', which is not a value of the type 'Boolean'",
    }
    path.write_text(XML.format(sheets=sheet("D", *(transaction(1, volume=cell) for cell in cells))), encoding="utf-8")
    assert [bad.detail.partition(";")[0] for bad in read(path).faults] == [*cells.values()]


def test_places_sheets_and_hidden_parts_of_an_xml_spreadsheet(path: Path) -> None:
    far = transaction(2, attributes='ss:Index="5" ss:Hidden="1"')
    skipping = xml_row(data("String", "TRX-3"), data("Number", "7", 'ss:Index="4"'))
    merged = transaction(4).replace(">MCH-001", ">MCH-002").replace("<Cell ><Data", '<Cell ss:MergeDown="1"><Data', 2)
    below = xml_row(data("String", "TRX-5"), data("String", "OK", 'ss:Index="5"'))
    hidden = sheet("Old", transaction(9), options="<Visible>SheetHidden</Visible>")
    columns = '<Column/><Column ss:Index="3" ss:Hidden="1" ss:Span="1"/>'
    rows = (transaction(1), far, skipping, merged.replace('ss:MergeDown="1"', "", 1), below)
    content = sheet("New", *rows, columns=columns)
    path.write_text(XML.format(sheets=hidden + content), encoding="utf-8")
    found = read(path)
    assert found.keys == [("TRX-1", 2), ("TRX-2", 5), ("TRX-3", 6), ("TRX-4", 7), ("TRX-5", 8)]
    assert found.rows[2] == ("TRX-3", "", "", "7", "", 6)
    assert found.rows[4] == ("TRX-5", "MCH-002", "", "", "OK", 8)
    assert found.remarks == [
        "not read, hidden: 'Old'",
        "read like the others: 1 hidden or filtered row: 5",
        "read like the others: hidden columns: C, D",
        "filled down in merged cells: 1 cell",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_an_xml_spreadsheet_is_read_in_its_encoding(path: Path, encoding: str) -> None:
    declared = XML.replace('"1.0"', f'"1.0" encoding="{encoding}"')
    content = declared.format(sheets=sheet("Marché", transaction(1).replace("TRX-1", "Marché")))
    path.write_bytes(content.encode(encoding))
    assert read(path).rows[0][0] == "Marché"


def test_an_xml_spreadsheet_that_is_cut_off_or_a_bomb_is_refused(path: Path) -> None:
    whole = XML.format(sheets=sheet("Data", *(transaction(number) for number in range(50))))
    path.write_text(whole[:-200], encoding="utf-8")
    assert refusal(path).fault == "corrupt"
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = whole.replace('"1.0"?>', f'"1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{levels}]>').replace("TRX-1<", "&l9;<")
    path.write_text(bomb, encoding="utf-8")
    assert refusal(path).fault in ("corrupt", "too_large")
