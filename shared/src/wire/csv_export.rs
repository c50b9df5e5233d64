//! Writing CSV that opens in a spreadsheet without doing anything there (R54).

/// What makes a spreadsheet take a cell for a formula or a command when it comes first (OWASP, "CSV Injection"); the last
/// three are the same signs in the full width that East Asian keyboards write.
const ACTIVE: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '＠'];

/// Rows of text cells (RFC 4180): every cell quoted, lines ended by CRLF.
#[derive(Debug, Default)]
pub struct CsvExport(Vec<u8>);

impl CsvExport {
    /// Adds a row.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        for (place, cell) in cells.into_iter().enumerate() {
            self.0.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
            // R54: an apostrophe before it makes it plain text.
            if cell.starts_with(ACTIVE) {
                self.0.push(b'\'');
            }
            self.0.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            self.0.push(b'"');
        }
        self.0.extend_from_slice(b"\r\n");
    }

    /// The bytes, UTF-8.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        reader.records().map(|row| row.expect("CSV").iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn r54_cells_that_a_spreadsheet_would_run_are_made_text() {
        for active in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "＠1", "=", "-"] {
            let mut export = CsvExport::default();
            export.row(["a", active]);
            assert_eq!(read(&export.into_bytes()), [["a".to_owned(), format!("'{active}")]]);
        }
        let mut export = CsvExport::default();
        export.row(["O'Neill, \"Sam\"", "", "1=1", " =1"]);
        assert_eq!(export.into_bytes(), b"\"O'Neill, \"\"Sam\"\"\",\"\",\"1=1\",\" =1\"\r\n");
    }

    proptest! {
        #[test]
        fn r54_no_cell_is_active_and_none_is_lost(
            rows in prop::collection::vec(prop::collection::vec("[=+@＝\\-\t\r\n\",;'a-z0-9 é]{0,6}|\\PC{0,9}", 1..5), 0..6),
        ) {
            let mut export = CsvExport::default();
            rows.iter().for_each(|row| export.row(row.iter().map(String::as_str)));
            let found = read(&export.into_bytes());
            prop_assert_eq!(found.len(), rows.len());
            for (found, row) in found.iter().zip(&rows) {
                prop_assert_eq!(found.len(), row.len());
                for (found, cell) in found.iter().zip(row) {
                    prop_assert!(!found.starts_with(['=', '+', '-', '@', '\t', '\r']), "{:?}", found);
                    prop_assert_eq!(found.strip_prefix('\'').filter(|_| !cell.starts_with('\'')).unwrap_or(found), cell);
                }
            }
        }
    }
}
