//! What the tests share: a Lambda Runtime API that runs the shipping binaries, DynamoDB and SQS in memory, a proxy
//! that can fail or kill at any call, and builders of the events that AWS sends. Nothing here ships.

pub mod binaries;
pub mod canary;
pub mod cloudwatch;
pub mod dynamo;
pub mod events;
pub mod issuer;
pub mod operator;
pub mod permissions;
pub mod proxy;
pub mod receiver;
pub mod runtime_api;
pub mod sqs;
pub mod stack;
pub mod world;
