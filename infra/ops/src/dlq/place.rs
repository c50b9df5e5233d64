//! Where an archive of dead letters is: a file, or objects under a prefix of an S3 bucket.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use aws_sdk_s3::{Client, Config, primitives::ByteStream};
use cpis::aws::config::Patience;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    archive::{Archive, lines},
    letter::Dead,
    run::{Taken, Work},
};
use crate::{
    failure::{Failure, Result, on_aws, on_file},
    stack::Stack,
};

/// What S3 answers where an object is there that must not be.
const PRECONDITION_FAILED: u16 = 412;

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file.
    File(PathBuf),
    /// Objects in a bucket whose names begin with a prefix, which is empty or ends in a slash.
    Bucket { bucket: String, prefix: String },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl Place {
    /// Reads a path, or `s3://BUCKET/PREFIX`.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else { return Ok(Self::File(text.into())) };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(plain) {
            return Err("a place in S3 is s3://BUCKET/PREFIX".into());
        }
        let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: format!("{prefix}{slash}") })
    }

    /// Opens it to archive to.
    pub(super) fn archive(&self, stack: &Stack) -> Result<To> {
        Ok(match self {
            Self::File(path) => To::File(Archive::open(path)?),
            Self::Bucket { bucket, prefix } => {
                // Each run has names of its own, in the order of time.
                let begun = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
                let prefix = format!("{prefix}{begun}-{}-", Uuid::new_v4().simple());
                To::Bucket(Objects { s3: stack.s3(), bucket: bucket.clone(), prefix, written: 0 })
            }
        })
    }

    /// Opens it to restore from; what a bucket holds is fetched into a file that nobody else can open and that is gone with this
    /// process.
    pub(super) async fn open(&self, stack: &Stack) -> Result<(File, PathBuf)> {
        match self {
            Self::File(path) => Ok((File::open(path).map_err(on_file(path))?, path.clone())),
            Self::Bucket { bucket, prefix } => Ok((fetch(&stack.s3(), bucket, prefix).await?, self.to_string().into())),
        }
    }
}

async fn fetch(s3: &Client, bucket: &str, prefix: &str) -> Result<File> {
    let path = std::env::temp_dir().join(format!("cpis-{}", Uuid::new_v4()));
    let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let mut file = opened.map_err(on_file(&path))?;
    std::fs::remove_file(&path).map_err(on_file(&path))?;
    let mut pages = s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    let mut objects = 0_usize;
    while let Some(page) = pages.next().await {
        let page = page.map_err(on_aws("list the archive in S3"))?;
        whole("the list of its parts", page.contents().len(), page.key_count().map(i64::from))?;
        for object in page.contents() {
            let part =
                body(s3, bucket, object.key().unwrap_or_default(), "fetch a part of the archive from S3").await?;
            whole("a part of it", part.len(), object.size())?;
            file.write_all(&part).map_err(on_file(&path))?;
            objects += 1;
        }
    }
    match objects {
        0 => Err(Failure::error(format!("there is nothing at s3://{bucket}/{prefix}"))),
        _ => Ok(file),
    }
}

/// What came short looks like what ended there: letters would be left out, and nobody told.
fn whole(what: &str, came: usize, told: Option<i64>) -> Result<()> {
    if told == i64::try_from(came).ok() {
        return Ok(());
    }
    Err(Failure::error(format!("the archive in S3 did not come whole ({what} came short): run this again")))
}

/// An object. `doing` completes "cannot …".
async fn body(s3: &Client, bucket: &str, key: &str, doing: &str) -> Result<Vec<u8>> {
    let found = s3.get_object().bucket(bucket).key(key).send().await.map_err(on_aws(doing))?;
    let body = found.body.collect().await;
    Ok(body.map_err(|e| Failure::error(format!("cannot {doing}: it broke off ({e})")))?.to_vec())
}

/// An archive that is written.
#[derive(Debug)]
pub(super) enum To {
    File(Archive),
    Bucket(Objects),
}

impl Work for To {
    async fn take(&mut self, letters: &[Dead]) -> Taken {
        match self {
            Self::File(archive) => archive.take(letters).await,
            Self::Bucket(objects) => objects.take(letters).await,
        }
    }
}

/// Letters as objects, a window of them in each. None is ever written over.
#[derive(Debug)]
pub(super) struct Objects {
    s3: Client,
    bucket: String,
    prefix: String,
    written: usize,
}

impl Work for Objects {
    // R72: S3 has them first.
    async fn take(&mut self, letters: &[Dead]) -> Taken {
        Taken::all_or_unknown(letters.len(), self.write(letters).await)
    }
}

impl Objects {
    async fn write(&mut self, letters: &[Dead]) -> Result<()> {
        let key = format!("{}{:06}.letters", self.prefix, self.written);
        let text = lines(letters)?;
        let put = self.s3.put_object().bucket(&self.bucket).key(&key).if_none_match("*");
        let put = put.content_type("application/jsonl").body(ByteStream::from(text.clone().into_bytes()));
        // A window of long letters takes its time.
        let patient = Config::builder().timeout_config(Patience::Operator.timeouts_of(text.len()));
        if let Err(error) = put.customize().config_override(patient).send().await {
            let is_there = error.raw_response().is_some_and(|answer| answer.status().as_u16() == PRECONDITION_FAILED);
            // The first attempt may have come through and its answer not: then the SDK's second one finds it there.
            if !is_there || self.read(&key).await? != text.as_bytes() {
                return Err(on_aws("write to the archive in S3")(error));
            }
        }
        self.written += 1;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Vec<u8>> {
        body(&self.s3, &self.bucket, key, "read back what is in the archive in S3").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let bucket = |bucket: &str, prefix: &str| Place::Bucket { bucket: bucket.into(), prefix: prefix.into() };
        for (text, place) in [
            ("letters.jsonl", Place::File("letters.jsonl".into())),
            ("s3://letters", bucket("letters", "")),
            ("s3://letters/", bucket("letters", "")),
            ("s3://my.letters-2/closed", bucket("my.letters-2", "closed/")),
            ("s3://letters/a/b/", bucket("letters", "a/b/")),
        ] {
            assert_eq!(Place::parse(text), Ok(place), "{text}");
        }
        for bad in ["s3://", "s3:///x", "s3://No/x", "s3://a/b", "s3://bad_name/x"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
