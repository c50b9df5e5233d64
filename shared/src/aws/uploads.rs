//! Table `uploads`: a head for each file, its answer in parts beside it, and each authority's telephone numbers.

use std::io::{Read, Write};

use aws_sdk_dynamodb::{
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    primitives::Blob,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    dynamo::{Dynamo, Item, after, from_item, limit, n, next, s, start, to_item},
    failure::{failed, unreadable},
    keys::{LA, SEQUENCE},
};
use crate::{
    domain::{
        authority::AuthorityCode,
        contact::Contact,
        upload::{Acknowledgement, UploadSummary},
    },
    ports::{ContactLog, ContactStanding, Page, PageRequest, PortError, PortResult, Standing, UploadLog, UploadReader},
};

/// Bytes of a compressed answer in one item (DynamoDB: an item has at most 400 KB).
const PART: usize = 350_000;
/// How often a change of telephone numbers is tried against others.
const MAX_RACES: usize = 8;

/// What a head holds beside the summary, once the file is completed.
#[derive(Debug, Deserialize)]
struct Head {
    digest: String,
    /// Names the parts of the answer.
    answer: Option<String>,
    parts: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContactItem {
    contact: Contact,
    contact_sequence: u64,
    spreads_due: u32,
}

impl From<ContactStanding> for ContactItem {
    fn from(standing: ContactStanding) -> Self {
        let ContactStanding { contact, sequence, spreads_due } = standing;
        Self { contact, contact_sequence: sequence, spreads_due }
    }
}

impl From<ContactItem> for ContactStanding {
    fn from(item: ContactItem) -> Self {
        Self { contact: item.contact, sequence: item.contact_sequence, spreads_due: item.spreads_due }
    }
}

impl UploadLog for Dynamo {
    async fn begin(&self, authority: &AuthorityCode, upload: &UploadSummary) -> PortResult<Standing> {
        const STEP: &str = "uploads.put";
        let item = to_item(upload, [(LA, s(authority.as_str()))], STEP)?;
        let put = self.client.put_item().table_name(&self.tables.uploads).set_item(Some(item));
        let put = put.condition_expression("attribute_not_exists(la)");
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Standing::Begun),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let head = refused.item.clone().ok_or_else(|| unreadable(STEP))?;
                    self.standing(authority, upload.sequence, head).await
                }
                _ => Err(failed(STEP)(error)),
            },
        }
    }

    async fn complete(
        &self,
        authority: &AuthorityCode,
        acknowledgement: &Acknowledgement,
        answer: &[u8],
    ) -> PortResult<Vec<u8>> {
        const STEP: &str = "uploads.update";
        let sequence = u64::try_from(acknowledgement.sequence).map_err(|_| unreadable(STEP))?;
        let (name, parts) = self.keep_answer(authority, sequence, answer).await?;
        let code = serde_dynamo::to_attribute_value(acknowledgement.code).map_err(|_| unreadable(STEP))?;
        let update = self.client.update_item().table_name(&self.tables.uploads);
        let result = update
            .key(LA, s(authority.as_str()))
            .key(SEQUENCE, n(sequence))
            .update_expression(
                "SET answer = :answer, #parts = :parts, #code = :code, loaded = :loaded, unmatched = :unmatched, completed = :completed",
            )
            .condition_expression("attribute_exists(la) AND attribute_not_exists(answer)")
            .expression_attribute_names("#code", "code")
            .expression_attribute_names("#parts", "parts")
            .expression_attribute_values(":answer", s(name))
            .expression_attribute_values(":parts", n(parts))
            .expression_attribute_values(":code", code)
            .expression_attribute_values(":loaded", n(acknowledgement.loaded))
            .expression_attribute_values(":unmatched", n(acknowledgement.unmatched()))
            .expression_attribute_values(":completed", s(acknowledgement.processed.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = result else { return Ok(answer.to_vec()) };
        let head = match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => refused.item.clone(),
            _ => return Err(failed(STEP)(error)),
        };
        // The same file was completed by another call, or by this one before its answer was lost: that answer stands.
        match self.standing(authority, sequence, head.ok_or_else(|| unreadable(STEP))?).await? {
            Standing::Completed { answer, .. } => Ok(answer),
            _ => Err(unreadable(STEP)),
        }
    }
}

impl UploadReader for Dynamo {
    async fn uploads(&self, authority: &AuthorityCode, page: &PageRequest) -> PortResult<Page<UploadSummary>> {
        const STEP: &str = "uploads.query";
        let from = match after::<1>(page.after.as_ref())? {
            Some([sequence]) => Some(sequence.parse::<u64>().map_err(|_| PortError::bad_cursor())?),
            None => None,
        };
        let from = start(from.map(|sequence| [(LA, s(authority.as_str())), (SEQUENCE, n(sequence))]));
        let query = self.client.query().table_name(&self.tables.uploads).consistent_read(true).limit(limit(page.limit));
        let query =
            query.key_condition_expression("la = :la").expression_attribute_values(":la", s(authority.as_str()));
        let query = query.scan_index_forward(false).set_exclusive_start_key(from);
        let found = query.send().await.map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP));
        Ok(Page { items: items.collect::<PortResult<_>>()?, next: next(found.last_evaluated_key, &[SEQUENCE]) })
    }

    async fn upload(&self, authority: &AuthorityCode, sequence: u64) -> PortResult<Option<Standing>> {
        match self.upload_item(authority.as_str(), sequence).await? {
            Some(head) => self.standing(authority, sequence, head).await.map(Some),
            None => Ok(None),
        }
    }
}

impl ContactLog for Dynamo {
    async fn advance_contact(
        &self,
        authority: &AuthorityCode,
        contact: &Contact,
        sequence: u64,
    ) -> PortResult<ContactStanding> {
        for _ in 0..MAX_RACES {
            let held = self.contact(authority).await?;
            let next = match ContactStanding::advanced(held.as_ref(), contact, sequence) {
                Ok(next) => next,
                Err(held) => return Ok(held),
            };
            if self.put_contact(authority, &next, held.as_ref()).await? {
                return Ok(next);
            }
        }
        Err(PortError { step: "uploads.contact", cause: "the numbers keep changing".into(), retryable: true })
    }

    async fn contact(&self, authority: &AuthorityCode) -> PortResult<Option<ContactStanding>> {
        let item = self.upload_item(&contact_key(authority), 0).await?;
        let item = item.map(|item| from_item::<ContactItem>(item, "uploads.contact")).transpose()?;
        Ok(item.map(Into::into))
    }

    async fn contact_spread(&self, authority: &AuthorityCode, standing: &ContactStanding) -> PortResult<()> {
        let next = ContactStanding { spreads_due: standing.spreads_due.saturating_sub(1), ..standing.clone() };
        self.put_contact(authority, &next, Some(standing)).await.map(drop)
    }
}

fn contact_key(authority: &AuthorityCode) -> String {
    format!("{authority}#contact")
}

impl Dynamo {
    async fn upload_item(&self, la: &str, sequence: u64) -> PortResult<Option<Item>> {
        let get = self.client.get_item().table_name(&self.tables.uploads).consistent_read(true);
        let found = get.key(LA, s(la)).key(SEQUENCE, n(sequence)).send().await;
        Ok(found.map_err(failed("uploads.get"))?.item)
    }

    async fn put_contact(
        &self,
        authority: &AuthorityCode,
        contact: &ContactStanding,
        held: Option<&ContactStanding>,
    ) -> PortResult<bool> {
        const STEP: &str = "uploads.contact";
        let item =
            to_item(&ContactItem::from(contact.clone()), [(LA, s(contact_key(authority))), (SEQUENCE, n(0))], STEP)?;
        let put = self.client.put_item().table_name(&self.tables.uploads).set_item(Some(item));
        let put = match held {
            None => put.condition_expression("attribute_not_exists(la)"),
            Some(held) => put
                .condition_expression("contactSequence = :sequence AND spreadsDue = :due")
                .expression_attribute_values(":sequence", n(held.sequence))
                .expression_attribute_values(":due", n(held.spreads_due)),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
            Err(error) => Err(failed(STEP)(error)),
        }
    }

    async fn standing(&self, authority: &AuthorityCode, sequence: u64, head: Item) -> PortResult<Standing> {
        let head: Head = from_item(head, "uploads.get")?;
        let (Some(name), Some(parts)) = (head.answer, head.parts) else {
            return Ok(Standing::Unfinished { digest: head.digest });
        };
        let mut packed = Vec::new();
        for part in 1..=u64::from(parts) {
            let item = self.upload_item(&parts_key(authority, sequence, &name), part).await?;
            match item.as_ref().and_then(|item| item.get("bytes")) {
                Some(AttributeValue::B(bytes)) => packed.extend_from_slice(bytes.as_ref()),
                _ => return Err(unreadable("uploads.get")),
            }
        }
        let mut answer = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut answer).map_err(|_| unreadable("uploads.get"))?;
        Ok(Standing::Completed { digest: head.digest, answer })
    }

    /// Writes the parts under a name made from the answer itself, so that two answers never mix.
    async fn keep_answer(
        &self,
        authority: &AuthorityCode,
        sequence: u64,
        answer: &[u8],
    ) -> PortResult<(String, usize)> {
        const STEP: &str = "uploads.put";
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(answer).map_err(|_| unreadable(STEP))?;
        let packed = packed.finish().map_err(|_| unreadable(STEP))?;
        let name: String = Sha256::digest(answer).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let parts = packed.chunks(PART);
        let count = parts.len();
        for (number, part) in (1_u64..).zip(parts) {
            let put = self.client.put_item().table_name(&self.tables.uploads);
            put.item(LA, s(parts_key(authority, sequence, &name)))
                .item(SEQUENCE, n(number))
                .item("bytes", AttributeValue::B(Blob::new(part)))
                .send()
                .await
                .map_err(failed(STEP))?;
        }
        Ok((name, count))
    }
}

fn parts_key(authority: &AuthorityCode, sequence: u64, name: &str) -> String {
    format!("{authority}#{sequence}#{name}")
}
