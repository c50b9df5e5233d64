//! Child Protection - Information Sharing: the rules, use cases and adapters that every function shares.
//!
//! | look in | for |
//! |---|---|
//! | [`domain`] | a business rule (cited as `R12`; all are in `RULES.md`) |
//! | `usecase` | the order of steps |
//! | `ports` | what a use case needs of the world |
//! | `wire` | the shape of a message |
//! | `out` | the ways out over HTTPS: webhooks and MESH |
//! | `aws` | the adapters for DynamoDB and SQS: the only place that names an AWS SDK type |
//! | `lambda` | what functions share at the edge |

#[cfg(any(feature = "archive", feature = "dynamodb", feature = "sqs"))]
pub mod aws;
pub mod domain;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
#[cfg(feature = "lambda")]
pub mod lambda;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
#[cfg(feature = "push")]
pub mod out;
pub mod ports;
#[cfg(feature = "testing")]
pub mod simulation;
pub mod usecase;
pub mod wire;
