//! How a command ends: exit statuses, and errors as one line that says what to do.

use std::{io, process::ExitCode};

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::output;

/// How a command ended that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// The work is done and somebody should look at what it found.
    NeedsAttention,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::NeedsAttention => Self::from(3),
        }
    }
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something went wrong; the text says what to do.
    #[error("{0}")]
    Error(String),
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// What the output is written to cannot take it.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// The outcome of a command or a step of one.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// An error with what to do about it.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::Error(message.into())
    }

    /// Arguments that do not fit together.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Whether whoever read the output has seen enough (`| head`).
    pub(crate) fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Tells stderr and gives the exit status. A reader that has seen enough is no error.
    pub(crate) fn report(&self) -> ExitCode {
        if self.is_reader_gone() {
            return ExitCode::SUCCESS;
        }
        output::tell(format_args!("error: {self}"));
        ExitCode::from(if matches!(self, Self::Usage(_)) { 2 } else { 1 })
    }
}

/// The failure of a file operation on `path`.
pub(crate) fn on_file(path: &std::path::Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |e| Failure::error(format!("{}: {e}", path.display()))
}

/// The failure of a call to AWS; `doing` completes "cannot …".
pub(crate) fn on_aws<E>(doing: &str) -> impl Fn(SdkError<E>) -> Failure + '_
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    move |error| Failure::error(format!("cannot {doing}: {}", cause(&error)))
}

fn cause<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let whole = DisplayErrorContext(error).to_string();
    match error {
        SdkError::ServiceError(e) => {
            let (code, message) = (e.err().code().unwrap_or("error"), e.err().message().unwrap_or("no reason given"));
            let known =
                matches!(code, "AccessDenied" | "AccessDeniedException" | "ExpiredToken" | "ExpiredTokenException");
            let hint = if known { "; check which AWS profile is in use" } else { "" };
            format!("{code}: {message}{hint}")
        }
        _ if whole.contains("redentials") => "no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY (`aws configure export-credentials` gives those of a single sign-on)"
            .into(),
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => match std::env::var("AWS_ENDPOINT_URL") {
            Ok(endpoint) => {
                format!("no answer from {endpoint}; is the system up (`make demo`), and AWS_ENDPOINT_URL right?")
            }
            Err(_) => "no answer from AWS; check the network, or set AWS_ENDPOINT_URL for a local system".into(),
        },
        _ => whole,
    }
}
