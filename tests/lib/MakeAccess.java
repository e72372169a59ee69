import com.healthmarketscience.jackcess.ColumnBuilder;
import com.healthmarketscience.jackcess.DataType;
import com.healthmarketscience.jackcess.Database;
import com.healthmarketscience.jackcess.DatabaseBuilder;
import com.healthmarketscience.jackcess.Table;
import com.healthmarketscience.jackcess.TableBuilder;
import java.io.File;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;

/**
 * Writes the MS Access files that standard input describes: parts are separated by \x1d, their tables by \x1c, lines by
 * \x1e, cells by \x1f. A part is a file: its format, its path, and its tables. The first line of a table is its name, the
 * second its columns (name, type, and the formula of a calculated one); a cell \x00 has no value. A table of one line is
 * a link: its name, the other file and the table there.
 */
public final class MakeAccess {
    public static void main(String[] arguments) throws IOException {
        String wishes = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        for (String part : wishes.split("\u001d")) {
            String[] tables = part.split("\u001c");
            String[] where = tables[0].split("\u001f");
            DatabaseBuilder builder = new DatabaseBuilder(new File(where[1]))
                    .setFileFormat(Database.FileFormat.valueOf(where[0]))
                    .setAutoSync(false); // otherwise each row waits for the disk
            try (Database database = builder.create()) {
                for (int i = 1; i < tables.length; i++) {
                    add(database, tables[i].split("\u001e"));
                }
            }
        }
    }

    private static void add(Database database, String[] lines) throws IOException {
        String[] name = lines[0].split("\u001f");
        if (name.length == 3) {
            database.createLinkedTable(name[0], name[1], name[2]);
            return;
        }
        Table table = columns(name[0], lines[1].split("\u001f")).toTable(database);
        for (int i = 2; i < lines.length; i++) {
            table.addRow(cells(table, lines[i].split("\u001f", -1)));
        }
    }

    private static TableBuilder columns(String name, String[] said) {
        TableBuilder table = new TableBuilder(name);
        for (String column : said) {
            String[] parts = column.split("\\|");
            DataType type = DataType.valueOf(parts[1]);
            ColumnBuilder built = new ColumnBuilder(parts[0], type);
            if (type == DataType.NUMERIC) {
                built.setPrecision(28).setScale(6);
            }
            if (type == DataType.TEXT) {
                built.setLengthInUnits(255);
            }
            if (parts.length == 3) {
                built.setCalculatedInfo(parts[2]);
            }
            table.addColumn(built);
        }
        return table;
    }

    private static Object[] cells(Table table, String[] said) {
        Object[] cells = new Object[said.length];
        for (int i = 0; i < said.length; i++) {
            cells[i] = said[i].equals("\0") ? null : value(table.getColumns().get(i).getType(), said[i]);
        }
        return cells;
    }

    private static Object value(DataType type, String said) {
        switch (type) {
            case BOOLEAN:
                return Boolean.valueOf(said);
            case BYTE, INT, LONG, BIG_INT:
                return Long.valueOf(said);
            case FLOAT:
                return Float.valueOf(said);
            case DOUBLE:
                return Double.valueOf(said);
            case MONEY, NUMERIC:
                return new BigDecimal(said);
            case SHORT_DATE_TIME, EXT_DATE_TIME:
                return LocalDateTime.parse(said);
            case BINARY, OLE:
                return said.getBytes(StandardCharsets.UTF_8);
            default:
                return said;
        }
    }
}
