//! Specs of living objects, kept in files before they are replaced.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::request::is_name;
use crate::host::files::whole_file;

/// Writes an object as the engine returns it into a file that only its owner can read. Returns the path.
pub fn write(dir: &Path, kind: ObjectKind, name: &str, object: &Value) -> Result<PathBuf> {
    anyhow::ensure!(is_name(kind, name), "`{name}` is not the name of a {kind}");
    let path = dir.join(format!("{kind}-{name}.json"));
    let write = || -> Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(whole_file::replace_json(&path, object)?)
    };
    write().with_context(|| format!("failed to keep the {kind} that is replaced in {}", path.display()))?;
    Ok(path)
}

/// Reads the spec of an object that was written.
pub fn read_spec(path: &Path) -> Result<Value> {
    let read = || -> Result<Value> {
        let object: Value = serde_json::from_slice(&fs::read(path)?)?;
        Ok(object["Spec"].clone())
    };
    read().with_context(|| format!("failed to read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_replaced_is_kept_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let inner = dir.path().join("20261121");
        let object = json!({ "ID": "w1", "Spec": { "Name": "web" } });
        let path = write(&inner, ObjectKind::Service, "web", &object).expect("writes");
        assert_eq!(path.file_name().and_then(|name| name.to_str()), Some("service-web.json"));
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&inner).expect("is there").permissions().mode() & 0o777, 0o700);
        assert_eq!(read_spec(&path).expect("reads"), json!({ "Name": "web" }));
        for wrong in ["../web", "a/b", ""] {
            write(&inner, ObjectKind::Service, wrong, &object).expect_err(wrong);
        }
    }
}
