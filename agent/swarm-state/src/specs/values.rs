//! Values that are no part of a spec: contents of secrets and configs, and credentials for registries.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use zeroize::Zeroizing;

use super::item;
use crate::inventory::ObjectKind;

/// The values that were asked for. They are wiped from memory when this is dropped, and `Debug` does not show them.
#[derive(Default)]
pub struct Values {
    wanted: HashSet<(ObjectKind, String)>,
    found: HashMap<(ObjectKind, String), Zeroizing<Vec<u8>>>,
}

impl Values {
    /// Prepares to collect the values of these objects, by kind and id.
    pub(crate) fn wanting(wanted: impl IntoIterator<Item = (ObjectKind, String)>) -> Self {
        Self { wanted: wanted.into_iter().collect(), found: HashMap::new() }
    }

    /// Returns the content of a secret or a config, or the registry credentials of a service: the text of an
    /// `X-Registry-Auth` header, empty if there are none.
    pub fn get(&self, kind: ObjectKind, id: &str) -> Option<&[u8]> {
        self.found.get(&(kind, id.to_owned())).map(|value| value.as_slice())
    }

    pub(crate) fn put(&mut self, kind: ObjectKind, id: &str, object: &[u8]) {
        let key = (kind, id.to_owned());
        if self.wanted.contains(&key) {
            let value = item::value(kind, object).unwrap_or_default();
            self.found.insert(key, Zeroizing::new(value.to_vec()));
        }
    }

    pub(crate) fn remove(&mut self, kind: ObjectKind, id: &str) {
        self.found.remove(&(kind, id.to_owned()));
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({} of {})", self.found.len(), self.wanted.len())
    }
}
