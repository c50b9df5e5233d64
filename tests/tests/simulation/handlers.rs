//! The functions' own handlers, as they ship.

#[path = "../../../functions/asn-delivery/src/handler.rs"]
#[allow(dead_code, reason = "what only its main.rs needs")]
pub(crate) mod asn_delivery;
#[path = "../../../functions/asn-mailbox/src/handler.rs"]
pub(crate) mod asn_mailbox;
#[path = "../../../functions/asn-relay/src/handler.rs"]
pub(crate) mod asn_relay;
#[path = "../../../functions/flag-lookup/src/handler.rs"]
pub(crate) mod flag_lookup;
#[path = "../../../functions/plan-upload/src/handler.rs"]
pub(crate) mod plan_upload;
