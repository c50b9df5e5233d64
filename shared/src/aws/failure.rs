//! From an SDK's error to a port's, without anything that the request held.

use aws_sdk_error::{ProvideErrorMetadata, SdkError};

use crate::ports::PortError;

#[cfg(feature = "dynamodb")]
use aws_sdk_dynamodb::error as aws_sdk_error;
#[cfg(all(feature = "archive", not(feature = "dynamodb"), not(feature = "sqs")))]
use aws_sdk_kms::error as aws_sdk_error;
#[cfg(all(feature = "sqs", not(feature = "dynamodb")))]
use aws_sdk_sqs::error as aws_sdk_error;

/// Error codes after which the same call cannot succeed.
const HOPELESS: [&str; 6] = [
    "ValidationException",
    "AccessDeniedException",
    "ResourceNotFoundException",
    "ConditionalCheckFailedException",
    "InvalidParameterValue",
    "UnrecognizedClientException",
];

/// Names the step and the service's error code. The service's message is left out: it may repeat the request.
pub(super) fn failed<E: ProvideErrorMetadata, R>(step: &'static str) -> impl Fn(SdkError<E, R>) -> PortError {
    move |error| {
        let cause = match &error {
            SdkError::ServiceError(service) => service.err().code().unwrap_or("ServiceError"),
            SdkError::TimeoutError(_) => "Timeout",
            SdkError::DispatchFailure(_) => "NotReached",
            SdkError::ResponseError(_) => "AnswerUnreadable",
            _ => "RequestNotBuilt",
        };
        PortError { step, cause: cause.to_owned(), retryable: !HOPELESS.contains(&cause) }
    }
}

/// What a table or queue holds is not of the shape that this code writes.
pub(super) fn unreadable(step: &'static str) -> PortError {
    PortError { step, cause: "ItemUnreadable".into(), retryable: false }
}
