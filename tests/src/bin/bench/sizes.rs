//! How large each function is, zipped.

use crate::{
    report::{Bound, Figure, Report},
    samples::Samples,
    stage::Stage,
};
use cpis_tests::binaries;
use flate2::{Compression, write::DeflateEncoder};
use std::{fs, io::Write, path::Path};

/// What a zip with one file named `bootstrap` holds beside its data (PKWARE APPNOTE 6.3: 30 + 46 + 22 bytes, twice the name).
const ZIP_FRAME: usize = 30 + 46 + 22 + 2 * "bootstrap".len();
const MEGABYTE: f64 = 1e6;

pub(crate) fn measure(stage: &Stage, report: &mut Report) {
    let functions = fs::read_dir(binaries::workspace().join("functions")).unwrap_or_else(|e| panic!("functions/: {e}"));
    let mut names: Vec<_> = functions.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let zipped = |name: &str| Samples::from(zipped(&stage.binaries.join(format!("cpis-{name}"))));
    let empty = zipped("baseline-empty");
    for name in names {
        let ours = zipped(&name);
        report.add(&Figure {
            name: &format!("zip of {name}"),
            bound: Bound::AtMost(5.0),
            value: ours.median(),
            unit: "MB",
            ours: &ours,
            baseline: ("empty function", &empty),
            samples_in: "MB",
        });
    }
}

/// Megabytes.
fn zipped(binary: &Path) -> f64 {
    let bytes = fs::read(binary).unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
    let deflated = deflated.write_all(&bytes).and_then(|()| deflated.finish());
    let deflated = deflated.unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
    (deflated.len() + ZIP_FRAME) as f64 / MEGABYTE
}
