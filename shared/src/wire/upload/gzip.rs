//! Unpacking, with a bound.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::{Malformed, too_many_bytes};
use crate::domain::upload::MAX_FILE_BYTES;

/// The content of a gzip stream of one member or several, up to [`MAX_FILE_BYTES`].
pub(super) fn unpack(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut content = Vec::new();
    let bound = MAX_FILE_BYTES as u64 + 1;
    let read = MultiGzDecoder::new(body).take(bound).read_to_end(&mut content);
    if content.len() > MAX_FILE_BYTES {
        return Err(too_many_bytes());
    }
    read.map_err(|_| {
        Malformed::file(
            "the gzip stream is damaged, cut off, or followed by something else; pack the file and send it again",
        )
    })?;
    Ok(content)
}
