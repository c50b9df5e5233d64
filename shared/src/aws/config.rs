//! How the SDKs are set up.

use std::{
    env,
    time::{Duration, Instant},
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_config::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::{
    connector_metadata::ConnectorMetadata,
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};

#[cfg(feature = "dynamodb")]
use aws_sdk_dynamodb::config as aws_sdk_config;
#[cfg(all(feature = "archive", not(feature = "dynamodb"), not(feature = "sqs")))]
use aws_sdk_kms::config as aws_sdk_config;
#[cfg(all(feature = "sqs", not(feature = "dynamodb")))]
use aws_sdk_sqs::config as aws_sdk_config;

use crate::domain::time::milliseconds;

/// For how long a call is waited for. Every attempt is bounded, so that a silent connection costs a retry and not the caller's
/// patience. Where three calls in ten are throttled, 3 attempts would fail one call in 37, and so most uploads, which make dozens; 5
/// fail one in 400, and make hardly more calls of it: 1.43 a call instead of 1.39.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Somebody waits in front of a child: 1.5 s an attempt, 4 s a call, for functions that may take 5.
    Short,
    /// Work that must get done: 3 s an attempt, 8 s a call.
    Long,
    /// An operator waits, who would have to begin anew, and perhaps behind a slow line: 10 s an attempt, 30 s a call.
    Operator,
}

/// Bytes a second that a slow line carries.
const SLOW: f64 = 64.0 * 1024.0;
/// Attempts at a call.
const ATTEMPTS: u32 = 5;

impl Patience {
    /// The time-outs of a call.
    #[must_use]
    pub fn timeouts(self) -> TimeoutConfig {
        self.timeouts_of(0)
    }

    /// The time-outs of a call that sends so many bytes: each attempt has as much longer as a slow line takes for them. What is
    /// fetched as a stream needs none: the time-outs end with the head of the answer, and a stream that stands still is ended by itself.
    #[must_use]
    pub fn timeouts_of(self, bytes: usize) -> TimeoutConfig {
        let (connect, attempt, call) = match self {
            Self::Short => (1_000, 1_500, 4_000),
            Self::Long => (1_000, 3_000, 8_000),
            Self::Operator => (3_000, 10_000, 30_000),
        };
        let line = Duration::from_secs_f64(bytes as f64 / SLOW);
        TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(connect))
            .operation_attempt_timeout(Duration::from_millis(attempt) + line)
            .operation_timeout(Duration::from_millis(call) + line * ATTEMPTS)
            .build()
    }
}

/// How often a call is tried, and after which waits.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(50))
}

/// Credentials, region and `AWS_ENDPOINT_URL` from the environment, where Lambda puts them, and from nowhere else: the
/// SDK's own search through profiles and metadata services would lengthen every cold start. 5 attempts, as long as
/// [`Patience`] lasts.
#[must_use]
pub fn load(patience: Patience) -> SdkConfig {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let credentials = SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new());
    let endpoint = env::var("AWS_ENDPOINT_URL").ok().filter(|url| !url.is_empty());
    over(OnFirstCall(https), patience, credentials, env::var("AWS_REGION").ok(), endpoint)
}

/// What [`load`] gives, but for where calls go and as whom.
#[cfg(feature = "testing")]
#[must_use]
pub fn simulated(client: impl HttpClient + 'static, credentials: SharedCredentialsProvider, region: &str) -> SdkConfig {
    over(client, Patience::Long, credentials, Some(region.to_owned()), Some("http://127.0.0.1".to_owned()))
}

fn over(
    client: impl HttpClient + 'static,
    patience: Patience,
    credentials: SharedCredentialsProvider,
    region: Option<String>,
    endpoint: Option<String>,
) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.map(Region::new))
        .http_client(client)
        .credentials_provider(credentials)
        .timeout_config(patience.timeouts())
        .retry_config(retries());
    config.set_endpoint_url(endpoint);
    config.build()
}

/// The SDK's own client reads and parses every root certificate of the machine, some hundred files, as soon as a client of
/// a service is made. This one does so when the first connection needs them.
#[derive(Debug)]
struct OnFirstCall(SharedHttpClient);

impl HttpClient for OnFirstCall {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = self.0.http_connector(settings, components);
        if tracing::enabled!(tracing::Level::DEBUG) { SharedHttpConnector::new(Told(connector)) } else { connector }
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

/// Writes a line for each attempt at a call: the operation, how it ended and how long it took. Nothing of what was asked or answered (R31).
#[derive(Debug)]
struct Told(SharedHttpConnector);

impl HttpConnector for Told {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // S3 names no target, and its paths are ours to keep.
        let target = request.headers().get("x-amz-target").unwrap_or_else(|| request.method());
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let (began, answer) = (Instant::now(), self.0.call(request));
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            let millis = milliseconds(began.elapsed());
            tracing::debug!(event = "aws.called", operation, status, millis);
            answer
        })
    }
}
