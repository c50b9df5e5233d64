//! The shape of messages: formats to domain and back. No I/O.

pub mod fhir;
pub mod search;
pub mod strict;
pub mod upload;
