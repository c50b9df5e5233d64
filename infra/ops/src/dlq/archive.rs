//! Dead letters in a file: one line of JSON each, with a checksum, readable by its owner alone.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_sqs::{
    primitives::Blob,
    types::{Message, MessageAttributeValue, MessageSystemAttributeName},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    letter::{Dead, Letter},
    run::{Taken, Work},
};
use crate::failure::{Failure, Result, on_file};

/// A line is this, the checksum of the letter's own text in hexadecimal, …
const BEFORE_SUM: &str = r#"{"sha256":""#;
/// … this, the letter, …
const BEFORE_LETTER: &str = r#"","letter":"#;
/// … and this.
const AFTER: &str = "}";
/// Length of a checksum.
const SUM: usize = 64;
/// The longest line that can be a letter: a message has 1 MiB at most, which escapes may lengthen to six times that.
const LONGEST: u64 = 8 << 20;

/// A letter as it stands in the archive: all that a message is but for what its queue adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Archived {
    /// Version of this format: 1.
    version: u8,
    /// The queue's id of the message, once.
    message_id: Option<String>,
    /// The queue's time at which it was first sent, in milliseconds.
    sent: Option<String>,
    /// `AWSTraceHeader`.
    trace: Option<String>,
    /// `MessageGroupId`.
    group: Option<String>,
    attributes: BTreeMap<String, Value>,
    body: String,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
struct Value {
    /// `String`, `Number`, `Binary`, or one of these with a suffix.
    r#type: String,
    text: Option<String>,
    /// In base64.
    binary: Option<String>,
}

impl From<&Message> for Archived {
    fn from(message: &Message) -> Self {
        let system = |name| message.attributes().and_then(|a| a.get(&name)).cloned();
        let attributes = message.message_attributes().into_iter().flatten().map(|(name, value)| {
            let value = Value {
                r#type: value.data_type().to_owned(),
                text: value.string_value().map(str::to_owned),
                binary: value.binary_value().map(|b| STANDARD.encode(b)),
            };
            (name.clone(), value)
        });
        Self {
            version: 1,
            message_id: message.message_id().map(str::to_owned),
            sent: system(MessageSystemAttributeName::SentTimestamp),
            trace: system(MessageSystemAttributeName::AwsTraceHeader),
            group: system(MessageSystemAttributeName::MessageGroupId),
            attributes: attributes.collect(),
            body: message.body().unwrap_or_default().to_owned(),
        }
    }
}

impl Archived {
    /// The message that it was.
    pub(super) fn message(self) -> Result<Message> {
        let mut message = Message::builder().body(self.body).set_message_id(self.message_id);
        for (name, value) in self.attributes {
            let binary = value.binary.map(|b| STANDARD.decode(b)).transpose();
            let binary = binary.map_err(|e| Failure::error(format!("attribute {name} of the archive: {e}")))?;
            let attribute = MessageAttributeValue::builder().data_type(value.r#type).set_string_value(value.text);
            let attribute = attribute.set_binary_value(binary.map(Blob::new)).build();
            message = message.message_attributes(name, attribute.map_err(|e| Failure::error(e.to_string()))?);
        }
        for (name, value) in [
            (MessageSystemAttributeName::SentTimestamp, self.sent),
            (MessageSystemAttributeName::AwsTraceHeader, self.trace),
            (MessageSystemAttributeName::MessageGroupId, self.group),
        ] {
            if let Some(value) = value {
                message = message.attributes(name, value);
            }
        }
        Ok(message.build())
    }

    /// Its line, with the line's end.
    fn line(&self) -> Result<String> {
        let letter = serde_json::to_string(self).map_err(|e| Failure::error(e.to_string()))?;
        Ok(format!("{BEFORE_SUM}{}{BEFORE_LETTER}{letter}{AFTER}\n", sum(&letter)))
    }

    /// Reads a line without its end.
    fn parse(line: &str) -> std::result::Result<Self, String> {
        let parts = || {
            let (found, rest) = line.strip_prefix(BEFORE_SUM)?.split_at_checked(SUM)?;
            Some((found, rest.strip_prefix(BEFORE_LETTER)?.strip_suffix(AFTER)?))
        };
        let (found, letter) = parts().ok_or("this is no line of an archive of dead letters")?;
        if sum(letter) != found {
            return Err("the checksum is wrong: the line was changed or damaged".into());
        }
        // The error of a parser may repeat what it read.
        let archived: Self = serde_json::from_str(letter).map_err(|_| "the letter cannot be read")?;
        if archived.version == 1 { Ok(archived) } else { Err("the line is of another version of this program".into()) }
    }
}

fn sum(letter: &str) -> String {
    digest(&SHA256, letter.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of letters.
pub(super) fn lines(letters: &[Dead]) -> Result<String> {
    letters.iter().map(|dead| Archived::from(&dead.message).line()).collect()
}

/// Writes letters to an archive, to be deleted from the queue once they are on the disk.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    path: PathBuf,
}

impl Archive {
    /// Opens an archive to write on at its end; a new one where there is none. What a killed run wrote of a last line is cut
    /// off: it had not come to deleting that letter.
    ///
    /// # Errors
    /// It is no archive, or damaged, or others may read it, or another command writes to it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let on_path = on_file(path);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path).map_err(&on_path)?;
        file.try_lock()
            .map_err(|e| Failure::error(format!("{}: another command has it open ({e})", path.display())))?;
        if file.metadata().map_err(&on_path)?.mode() & 0o077 != 0 {
            let path = path.display();
            return Err(Failure::error(format!(
                "{path}: others may read it, and it is about children: `chmod 600 {path}`"
            )));
        }
        let end = Reader::of(&file, path)?.check()?.end;
        file.set_len(end).and_then(|()| file.sync_all()).map_err(&on_path)?;
        let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(directory).and_then(|d| d.sync_all()).map_err(&on_path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Writes letters, and returns once they are on the disk.
    fn write(&mut self, letters: &[Dead]) -> Result<()> {
        let written = self.file.write_all(lines(letters)?.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(on_file(&self.path))
    }
}

impl Work for Archive {
    // R72: on the disk first.
    async fn take(&mut self, letters: &[Dead]) -> Taken {
        Taken::all_or_unknown(letters.len(), self.write(letters))
    }
}

/// Reads an archive line by line.
pub(super) struct Reader<'a> {
    lines: BufReader<&'a File>,
    path: &'a Path,
    /// Lines so far.
    pub(super) number: usize,
    line: Vec<u8>,
    /// Bytes of the whole lines so far.
    pub(super) end: u64,
    /// Whether the file ends in the middle of a line.
    pub(super) is_torn: bool,
}

impl<'a> Reader<'a> {
    /// From the beginning.
    pub(super) fn of(mut file: &'a File, path: &'a Path) -> Result<Self> {
        file.seek(SeekFrom::Start(0)).map_err(on_file(path))?;
        Ok(Self { lines: BufReader::new(file), path, number: 0, line: Vec::new(), end: 0, is_torn: false })
    }

    /// The next letter; none at the end.
    ///
    /// # Errors
    /// A line was changed or damaged.
    pub(super) fn next(&mut self) -> Result<Option<Archived>> {
        self.line.clear();
        let read = std::io::Read::take(&mut self.lines, LONGEST).read_until(b'\n', &mut self.line);
        read.map_err(on_file(self.path))?;
        if self.line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let fault = |why: &str| Failure::error(format!("{}, line {}: {why}", self.path.display(), self.number));
        if self.line.last() != Some(&b'\n') {
            self.is_torn = (self.line.len() as u64) < LONGEST;
            return if self.is_torn { Ok(None) } else { Err(fault("this is no line of an archive of dead letters")) };
        }
        let text = std::str::from_utf8(&self.line[..self.line.len() - 1]).map_err(|_| fault("this is no text"))?;
        let archived = Archived::parse(text).map_err(|why| fault(&why))?;
        self.end += self.line.len() as u64;
        Ok(Some(archived))
    }

    /// Reads to the end.
    pub(super) fn check(mut self) -> Result<Self> {
        while self.next()?.is_some() {}
        Ok(self)
    }
}

/// The letter of an archived message.
pub(super) fn dead(archived: Archived) -> Result<Dead> {
    let message = archived.message()?;
    Ok(Dead { letter: Letter::read(&message), message })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn message(body: &str) -> Message {
        let text = MessageAttributeValue::builder().data_type("String").string_value("step-failed").build();
        let binary = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255, 10])).build();
        Message::builder()
            .message_id("6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f")
            .body(body)
            .message_attributes("reason", text.expect("complete"))
            .message_attributes("other", binary.expect("complete"))
            .attributes(MessageSystemAttributeName::SentTimestamp, "1795348800000")
            .attributes(MessageSystemAttributeName::AwsTraceHeader, "Root=1")
            .attributes(MessageSystemAttributeName::MessageGroupId, "E06000001")
            .build()
    }

    fn letter(body: &str) -> Dead {
        dead(Archived::from(&message(body))).expect("readable")
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("letters.jsonl");
        (directory, path)
    }

    fn bodies(path: &Path) -> Result<Vec<String>> {
        let file = File::open(path).expect("there");
        let mut reader = Reader::of(&file, path)?;
        let mut bodies = Vec::new();
        while let Some(archived) = reader.next()? {
            bodies.push(archived.body);
        }
        Ok(bodies)
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(body in ".*") {
            let line = Archived::from(&message(&body)).line().expect("JSON");
            prop_assert_eq!(line.matches('\n').count(), 1);
            let back = Archived::parse(line.trim_end_matches('\n')).expect("readable").message().expect("complete");
            prop_assert_eq!(back, message(&body));
        }

        #[test]
        fn a_changed_line_is_noticed(place in 0_usize..300, bit in 0_u32..8) {
            let line = Archived::from(&message("{\"nhsNumber\":\"9990000018\"}")).line().expect("JSON");
            let mut bytes = line.trim_end_matches('\n').as_bytes().to_vec();
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            let found = String::from_utf8(bytes).map_err(|_| String::new()).and_then(|text| Archived::parse(&text));
            prop_assert!(found.is_err());
        }
    }

    #[test]
    fn r72_an_archive_is_written_on_and_a_torn_end_cut_off() {
        let (_directory, path) = scratch();
        Archive::open(&path).and_then(|mut archive| archive.write(&[letter("1"), letter("2")])).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        let whole = fs::read(&path).expect("there");
        let torn = [&whole[..], &whole[..whole.len() / 4]].concat();
        fs::write(&path, torn).expect("written");
        assert_eq!(bodies(&path).expect("readable"), ["1", "2"], "a reader stops before the torn line");
        Archive::open(&path).and_then(|mut archive| archive.write(&[letter("3")])).expect("written");
        assert_eq!(bodies(&path).expect("readable"), ["1", "2", "3"]);
    }

    #[test]
    fn archives_that_are_refused() {
        let (_directory, path) = scratch();
        let open = || Archive::open(&path).map(drop).map_err(|e| e.to_string()).err().unwrap_or_default();
        let first = Archive::open(&path).expect("new");
        assert!(open().contains("another command has it open"));
        drop(first);
        fs::write(&path, "a shopping list\n").expect("written");
        assert!(open().ends_with("line 1: this is no line of an archive of dead letters"));
        let line = Archived::from(&message("1")).line().expect("JSON");
        fs::write(&path, line.clone() + &line.replace("step-failed", "step-foiled") + &line).expect("written");
        assert!(open().ends_with("line 2: the checksum is wrong: the line was changed or damaged"));
        assert_eq!(fs::read_to_string(&path).expect("there").lines().count(), 3, "left as it is");
        let mut open_to_all = fs::metadata(&path).expect("there").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut open_to_all, 0o640);
        fs::set_permissions(&path, open_to_all).expect("changed");
        assert!(open().contains("others may read it"));
    }
}
