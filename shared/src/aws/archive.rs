//! Where signed statements come from and go to: a KMS key and an S3 bucket with Object Lock.

use aws_config::SdkConfig;
use aws_sdk_kms::{
    primitives::Blob,
    types::{MessageType, SigningAlgorithmSpec},
};
use aws_sdk_s3::{primitives::ByteStream, types::ChecksumAlgorithm};

use super::failure::{failed, unreadable};
use crate::ports::{HeadArchive, HeadSigner, PortResult};

/// The asymmetric key that signs statements (KMS: `ECC_NIST_P256`).
#[derive(Debug, Clone)]
pub struct HeadKey {
    client: aws_sdk_kms::Client,
    key: String,
}

impl HeadKey {
    /// The key of this id or ARN.
    #[must_use]
    pub fn new(config: &SdkConfig, key: String) -> Self {
        Self { client: aws_sdk_kms::Client::new(config), key }
    }
}

impl HeadSigner for HeadKey {
    async fn sign(&self, bytes: &[u8]) -> PortResult<(String, Vec<u8>)> {
        const STEP: &str = "audit-key.sign";
        let sign = self.client.sign().key_id(&self.key).message(Blob::new(bytes)).message_type(MessageType::Raw);
        let signed = sign.signing_algorithm(SigningAlgorithmSpec::EcdsaSha256).send().await.map_err(failed(STEP))?;
        match (signed.key_id, signed.signature) {
            (Some(key), Some(signature)) => Ok((key, signature.into_inner())),
            _ => Err(unreadable(STEP)),
        }
    }
}

/// The bucket that keeps statements. Its default retention locks what is put there.
#[derive(Debug, Clone)]
pub struct HeadBucket {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl HeadBucket {
    /// The bucket of this name.
    #[must_use]
    pub fn new(config: &SdkConfig, bucket: String) -> Self {
        // An emulator at one address knows buckets by path.
        let path = config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(config).force_path_style(path).build();
        Self { client: aws_sdk_s3::Client::from_conf(config), bucket }
    }
}

impl HeadArchive for HeadBucket {
    async fn keep(&self, name: &str, file: &[u8]) -> PortResult<()> {
        let put = self.client.put_object().bucket(&self.bucket).key(name).content_type("application/json");
        // S3 takes nothing into a bucket with a default retention without a checksum.
        let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from(file.to_vec()));
        put.send().await.map(drop).map_err(failed("audit-bucket.put"))
    }
}
