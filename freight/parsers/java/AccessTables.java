import com.healthmarketscience.jackcess.Column;
import com.healthmarketscience.jackcess.DataType;
import com.healthmarketscience.jackcess.Database;
import com.healthmarketscience.jackcess.DatabaseBuilder;
import com.healthmarketscience.jackcess.DateTimeType;
import com.healthmarketscience.jackcess.Row;
import com.healthmarketscience.jackcess.Table;
import com.healthmarketscience.jackcess.TableMetaData;
import com.healthmarketscience.jackcess.complex.ComplexDataType;
import com.healthmarketscience.jackcess.impl.DatabaseImpl;
import com.healthmarketscience.jackcess.impl.UnsupportedCodecException;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.math.BigDecimal;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.temporal.ChronoField;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Prints the content of an MS Access file as lines of JSON. The first line is the list of its tables. After a table's
 * name on standard input there is a line for each of its rows, a list of texts with an object in place of each value
 * that is not text; and a last line with the number of rows. If the file cannot be read, the line is the fault.
 *
 * <p>The reader keeps standard input open; this program ends when it closes.
 */
public final class AccessTables {
    private static final char NO_CHARACTER = '\ufffd'; // in place of a byte that the code page does not have
    private static final String WESTERN = "windows-1252";
    private static final DateTimeFormatter INSTANT = new DateTimeFormatterBuilder()
            .appendPattern("uuuu-MM-dd HH:mm:ss")
            .appendFraction(ChronoField.NANO_OF_SECOND, 0, 9, true)
            .toFormatter();

    private final PrintWriter answers = new PrintWriter(
            new OutputStreamWriter(
                    new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), StandardCharsets.UTF_8));
    private boolean hasCodePage;
    private final BufferedReader questions =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    public static void main(String[] arguments) {
        new AccessTables().answer(Path.of(arguments[0]));
    }

    private void answer(Path path) {
        try (Database database = new DatabaseBuilder(path).setReadOnly(true).open()) {
            refusePassword(database);
            decodeAsWritten(database);
            sendTables(database);
            String wanted = questions.readLine();
            if (wanted != null) {
                endWithReader();
                sendRows(database.getTable(wanted));
            }
        } catch (UnsupportedCodecException encrypted) {
            sendFault("encrypted", "the database is encrypted");
        } catch (IOException | RuntimeException broken) {
            sendFault("corrupt", broken.getClass().getSimpleName() + ": " + broken.getMessage());
        }
        answers.flush();
    }

    private static void refusePassword(Database database) throws IOException {
        if (database.getDatabasePassword() != null) {
            throw new UnsupportedCodecException("a password is set");
        }
    }

    /** Decodes texts as they were written: Access 97 uses the writer's code page, Jackcess would use this machine's. */
    private void decodeAsWritten(Database database) throws IOException {
        database.setDateTimeType(DateTimeType.LOCAL_DATE_TIME);
        database.setLinkResolver((linking, name) -> {
            throw new IOException("a table that is a link is not followed");
        });
        DatabaseImpl file = (DatabaseImpl) database;
        hasCodePage = file.getFormat().toString().endsWith("3");
        if (hasCodePage) {
            String codePage = "windows-" + file.getDefaultCodePage();
            database.setCharset(Charset.forName(Charset.isSupported(codePage) ? codePage : WESTERN));
        }
    }

    private void sendTables(Database database) throws IOException {
        StringBuilder line = new StringBuilder("[");
        for (TableMetaData found : database.newTableMetaDataIterable()) {
            if (!found.isSystem()) {
                line.append(line.length() > 1 ? "," : "").append('[');
                appendText(line, found.getName());
                line.append(',').append(found.isLinked()).append(',');
                appendColumns(line, found, database);
                line.append(']');
            }
        }
        answers.append(line).append("]\n").flush();
    }

    /** Appends the names of the columns; null for a link or a table that cannot be opened, as others may be sound. */
    private static void appendColumns(StringBuilder line, TableMetaData found, Database database) {
        StringBuilder names = new StringBuilder();
        try {
            for (Column column : found.isLinked() ? List.<Column>of() : columns(found.open(database))) {
                names.append(names.length() > 0 ? "," : "");
                appendText(names, column.getName());
            }
        } catch (IOException | RuntimeException broken) {
            names.setLength(0);
        }
        line.append(names.length() > 0 ? "[" + names + "]" : "null");
    }

    /** Returns the columns that people see; a hidden one keeps the history of a memo field. */
    private static List<Column> columns(Table table) {
        return table.getColumns().stream()
                .filter(column -> column.getType() != DataType.COMPLEX_TYPE
                        || column.getComplexInfo().getType() != ComplexDataType.VERSION_HISTORY)
                .collect(Collectors.toList());
    }

    private void endWithReader() {
        Thread waiting = new Thread(() -> {
            try {
                while (questions.read() >= 0) {}
            } catch (IOException ended) {
                // treated like the end of the input
            }
            Runtime.getRuntime().halt(1);
        });
        waiting.setDaemon(true);
        waiting.start();
    }

    private void sendRows(Table table) {
        List<Column> columns = columns(table);
        long sent = 0;
        for (Row row : table) {
            StringBuilder line = new StringBuilder("[");
            for (Column column : columns) {
                line.append(line.length() > 1 ? "," : "");
                appendValue(line, column, row.get(column.getName()));
            }
            answers.append(line).append("]\n");
            sent++;
        }
        answers.append("{\"sent\":" + sent + ",\"counted\":" + table.getRowCount() + "}\n");
    }

    private void sendFault(String fault, String message) {
        StringBuilder line = new StringBuilder("{\"fault\":\"").append(fault).append("\",\"message\":");
        appendText(line, message);
        answers.append(line).append("}\n");
    }

    private void appendValue(StringBuilder line, Column column, Object value) {
        if (value == null) {
            line.append("\"\"");
        } else if (column.getType() == DataType.COMPLEX_TYPE) {
            appendType(line, column); // the value is only a reference to rows elsewhere
        } else if (value instanceof LocalDateTime instant) {
            line.append('"').append(INSTANT.format(instant)).append('"');
        } else if (value instanceof Double || value instanceof Float) {
            appendNumber(line, decimal((Number) value));
        } else if (value instanceof BigDecimal number) {
            appendNumber(line, plain(number));
        } else if (value instanceof Byte octet) {
            appendNumber(line, Byte.toUnsignedInt(octet)); // a byte in Access is unsigned
        } else if (value instanceof Number) {
            appendNumber(line, value);
        } else if (value instanceof Boolean) {
            line.append('"').append(value).append('"');
        } else if (value instanceof String text && hasCodePage && text.indexOf(NO_CHARACTER) >= 0) {
            line.append("{\"reason\":\"bytes that are not characters in the code page of the file\"}");
        } else if (value instanceof String text) {
            appendText(line, text);
        } else {
            appendType(line, column);
        }
    }

    /** Appends a list of one text, which keeps all digits and is not taken for a text of the file. */
    private static void appendNumber(StringBuilder line, Object number) {
        line.append("[\"").append(number).append("\"]");
    }

    private static void appendType(StringBuilder line, Column column) {
        line.append("{\"reason\":\"a value of the type ").append(column.getType()).append(", which is not text\"}");
    }

    private static String decimal(Number value) {
        return Double.isFinite(value.doubleValue()) ? plain(new BigDecimal(value.toString())) : value.toString();
    }

    private static String plain(BigDecimal number) {
        return number.signum() == 0 ? "0" : number.stripTrailingZeros().toPlainString();
    }

    private static void appendText(StringBuilder line, String text) {
        line.append('"');
        for (int at = 0; at < text.length(); at++) {
            char sign = text.charAt(at);
            if (sign == '"' || sign == '\\') {
                line.append('\\').append(sign);
            } else if (sign < ' ' || Character.isSurrogate(sign)) {
                line.append(String.format("\\u%04x", (int) sign));
            } else {
                line.append(sign);
            }
        }
        line.append('"');
    }
}
