//! Table `plans`.

use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure};

#[cfg(feature = "testing")]
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;

use super::{
    dynamo::{Dynamo, after, from_item, limit, n, next, s, start, to_item},
    failure::{failed, unreadable},
    keys::{BY_AUTHORITY, CHILD, LA, PLAN},
};
#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{
        authority::AuthorityCode,
        contact::Contact,
        nhs_number::ChildKey,
        plan::{Plan, PlanId},
    },
    ports::{Guard, Page, PageRequest, PlanReader, PlanRegister, PlanWrite, PlanWriter, PortResult},
};

impl PlanReader for Dynamo {
    async fn plans_of(&self, child: &ChildKey) -> PortResult<Vec<Plan>> {
        const STEP: &str = "plans.query";
        let mut plans = Vec::new();
        let mut from = None;
        loop {
            let query = self.client.query().table_name(&self.tables.plans).consistent_read(true);
            let query = query
                .key_condition_expression("child = :child")
                .expression_attribute_values(":child", s(child.as_str()));
            let found = query.set_exclusive_start_key(from).send().await.map_err(failed(STEP))?;
            for item in found.items.unwrap_or_default() {
                plans.push(from_item(item, STEP)?);
            }
            from = found.last_evaluated_key;
            if from.is_none() {
                return Ok(plans);
            }
        }
    }
}

impl PlanWriter for Dynamo {
    async fn write_plan(&self, child: &ChildKey, plan: &Plan, guard: Guard) -> PortResult<PlanWrite> {
        const STEP: &str = "plans.put";
        let keys = [(CHILD, s(child.as_str())), (PLAN, s(plan.id().key())), (LA, s(plan.authority.as_str()))];
        let put = self.client.put_item().table_name(&self.tables.plans).set_item(Some(to_item(plan, keys, STEP)?));
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let sequence = || n(plan.sequence);
        let put = match guard {
            Guard::NothingNewer => put
                .condition_expression("attribute_not_exists(child) OR #sequence <= :sequence")
                .expression_attribute_names("#sequence", "sequence")
                .expression_attribute_values(":sequence", sequence()),
            Guard::StartedAndNothingNewer => put
                .condition_expression("known = :true AND #sequence <= :sequence")
                .expression_attribute_names("#sequence", "sequence")
                .expression_attribute_values(":true", aws_sdk_dynamodb::types::AttributeValue::Bool(true))
                .expression_attribute_values(":sequence", sequence()),
            Guard::Absent => put.condition_expression("attribute_not_exists(child)"),
            Guard::StillAwaiting(held) => put
                .condition_expression("known = :false AND #sequence = :held")
                .expression_attribute_names("#sequence", "sequence")
                .expression_attribute_values(":false", aws_sdk_dynamodb::types::AttributeValue::Bool(false))
                .expression_attribute_values(":held", n(held)),
        };
        #[cfg(feature = "testing")]
        let put = if simulation::has(Bug::IgnoresTheSequence) { unconditional(put) } else { put };
        match put.send().await {
            Ok(_) => Ok(PlanWrite::Written),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let held = refused.item.clone().filter(|item| !item.is_empty());
                    let held = held.map(|item| from_item(item, STEP)).transpose()?;
                    Ok(PlanWrite::Refused(held.map(Box::new)))
                }
                _ => Err(failed(STEP)(error)),
            },
        }
    }

    async fn write_contact(&self, child: &ChildKey, plan: &PlanId, contact: &Contact, sequence: u64) -> PortResult<()> {
        const STEP: &str = "plans.update";
        let contact = serde_dynamo::to_attribute_value(contact).map_err(|_| unreadable(STEP))?;
        let update = self.client.update_item().table_name(&self.tables.plans);
        let result = update
            .key(CHILD, s(child.as_str()))
            .key(PLAN, s(plan.key()))
            .update_expression("SET contact = :contact, contactSequence = :sequence")
            .condition_expression("contactSequence < :sequence")
            .expression_attribute_values(":contact", contact)
            .expression_attribute_values(":sequence", n(sequence))
            .send()
            .await;
        match result {
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            result => result.map(drop).map_err(failed(STEP)),
        }
    }
}

impl PlanRegister for Dynamo {
    async fn plans_held(&self, authority: &AuthorityCode, page: &PageRequest) -> PortResult<Page<(ChildKey, Plan)>> {
        const STEP: &str = "plans.by-authority.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[child, plan]| [(LA, s(authority.as_str())), (CHILD, s(child)), (PLAN, s(plan))]));
        let query =
            self.client.query().table_name(&self.tables.plans).index_name(BY_AUTHORITY).limit(limit(page.limit));
        let query =
            query.key_condition_expression("la = :la").expression_attribute_values(":la", s(authority.as_str()));
        let found = query.set_exclusive_start_key(from).send().await.map_err(failed(STEP))?;
        let pair = |item: super::dynamo::Item| -> PortResult<(ChildKey, Plan)> {
            let child = item.get(CHILD).cloned().ok_or_else(|| unreadable(STEP))?;
            Ok((serde_dynamo::from_attribute_value(child).map_err(|_| unreadable(STEP))?, from_item(item, STEP)?))
        };
        let items = found.items.unwrap_or_default().into_iter().map(pair).collect::<PortResult<_>>()?;
        Ok(Page { items, next: next(found.last_evaluated_key, &[CHILD, PLAN]) })
    }
}

/// The bug of a write without its condition.
#[cfg(feature = "testing")]
fn unconditional(put: PutItemFluentBuilder) -> PutItemFluentBuilder {
    let put = put.set_condition_expression(None).set_expression_attribute_names(None);
    put.set_expression_attribute_values(None)
}
