//! One service while it is put into a stack file.

use super::document::Document;
use crate::restore::items::export::{command::Command, left_out::LeftOut};

/// What the parts of a service have in common while they are translated.
#[derive(Debug)]
pub struct Translation<'d, 'a> {
    /// Key of the service in the file.
    pub key: &'d str,
    pub document: &'d mut Document<'a>,
    pub left: LeftOut,
    /// `docker service update` with the options that set what the file cannot hold.
    pub update: Command,
}
