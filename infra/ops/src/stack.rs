//! The deployed stack that commands work on: its resources by name, and clients for them.

use std::collections::HashMap;

use aws_config::{BehaviorVersion, SdkConfig};
use clap::Args;

use cpis::aws::{
    Dynamo, Tables,
    config::{Patience, retries},
};

use crate::failure::{Failure, Result, on_aws};

/// Which stack.
#[derive(Debug, Args)]
pub(crate) struct StackArgs {
    /// CloudFormation stack to work on, at AWS_ENDPOINT_URL or in the account of the AWS profile in use
    #[arg(long, global = true, value_name = "NAME", env = "CPIS_STACK", default_value = "cpis")]
    stack: String,
}

/// A deployed stack.
#[derive(Debug)]
pub(crate) struct Stack {
    name: String,
    outputs: HashMap<String, String>,
    /// Where its services are, and as whom to call them.
    pub(crate) config: SdkConfig,
}

impl StackArgs {
    /// Looks the stack up.
    pub(crate) async fn open(&self) -> Result<Stack> {
        // As patient with AWS as the functions are, and more: without, a call that is never answered would be waited for for ever.
        let config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(Patience::Operator.timeouts());
        let config = config.retry_config(retries()).load().await;
        if config.region().is_none() {
            return Err(Failure::error("no AWS region; set AWS_REGION, or AWS_PROFILE to a profile that has one"));
        }
        let doing = format!("find the stack {} (deploy it, or name another with --stack)", self.stack);
        let call = aws_sdk_cloudformation::Client::new(&config).describe_stacks().stack_name(&self.stack);
        let found = call.send().await.map_err(on_aws(&doing))?;
        let outputs = found.stacks().iter().flat_map(|s| s.outputs());
        let outputs = outputs.filter_map(|o| Some((o.output_key.clone()?, o.output_value.clone()?))).collect();
        Ok(Stack { name: self.stack.clone(), outputs, config })
    }
}

impl Stack {
    /// An output of the stack, such as `AsnQueueUrl`.
    pub(crate) fn output(&self, key: &str) -> Result<&str> {
        self.outputs.get(key).map(String::as_str).ok_or_else(|| {
            let name = &self.name;
            Failure::error(format!(
                "the stack {name} has no output {key}; is it a CP-IS stack, and its deployment complete?"
            ))
        })
    }

    /// A client for its tables.
    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// A client for its queues.
    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    /// A client for buckets. An emulator at one address knows them by path.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let path = self.config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(path).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// The audit log.
    pub(crate) fn audit_log(&self) -> Result<Dynamo> {
        let tables = Tables { audit: self.output("AuditTable")?.to_owned(), ..Tables::default() };
        Ok(Dynamo::new(&self.config, tables))
    }
}
