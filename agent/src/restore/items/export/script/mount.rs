//! Mounts as values of `--mount`.

use serde_json::Value;

use super::pairs;
use crate::restore::items::export::{command::fields, rest::Rest};

/// Returns the value of the option, and what it cannot hold (docker/cli `opts/mount.go`).
pub fn option(mount: &Value) -> (String, Rest) {
    let target = mount["Target"].as_str().unwrap_or_default();
    let mut rest = Rest::of(format!("[{target}]"), mount.clone());
    let mut parts = Vec::new();
    let mut add = |name: &str, value: Option<String>| parts.extend(value.map(|value| format!("{name}={value}")));
    add("type", rest.text("Type"));
    add("source", rest.text("Source"));
    add("target", rest.text("Target"));
    add("readonly", is_set(&mut rest, "ReadOnly"));
    let mut bind = rest.part("BindOptions");
    add("bind-propagation", bind.text("Propagation"));
    add("bind-nonrecursive", is_set(&mut bind, "NonRecursive"));
    add("bind-recursive", is_set(&mut bind, "ReadOnlyNonRecursive").map(|_| "writable".to_owned()));
    add("bind-recursive", is_set(&mut bind, "ReadOnlyForceRecursive").map(|_| "readonly".to_owned()));
    let mut volume = rest.part("VolumeOptions");
    add("volume-nocopy", is_set(&mut volume, "NoCopy"));
    add("volume-subpath", volume.text("Subpath"));
    pairs(&mut volume, "Labels").into_iter().for_each(|pair| add("volume-label", Some(pair)));
    let mut driver = volume.part("DriverConfig");
    add("volume-driver", driver.text("Name"));
    pairs(&mut driver, "Options").into_iter().for_each(|pair| add("volume-opt", Some(pair)));
    let mut tmpfs = rest.part("TmpfsOptions");
    add("tmpfs-size", tmpfs.natural("SizeBytes").map(|size| size.to_string()));
    add("tmpfs-mode", tmpfs.natural("Mode").map(|mode| format!("{mode:o}")));
    volume.put("DriverConfig", driver.into_fields());
    rest.put("BindOptions", bind.into_fields());
    rest.put("VolumeOptions", volume.into_fields());
    rest.put("TmpfsOptions", tmpfs.into_fields());
    (fields(&parts), rest)
}

fn is_set(rest: &mut Rest, name: &str) -> Option<String> {
    rest.flag(name).filter(|is_set| *is_set).map(|_| "true".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mount_is_one_value_and_what_has_no_word_is_left() {
        let mount = json!({
            "Type": "volume", "Source": "data", "Target": "/a,b", "ReadOnly": true,
            "VolumeOptions": {
                "NoCopy": true, "Subpath": "below", "Labels": { "a": "b", "c=d": "e" },
                "DriverConfig": { "Name": "local", "Options": { "o": "addr=1,rw" } },
            },
        });
        let (option, rest) = option(&mount);
        let expected = "type=volume,source=data,\"target=/a,b\",readonly=true,volume-nocopy=true,volume-subpath=below,\
            volume-label=a=b,volume-driver=local,\"volume-opt=o=addr=1,rw\"";
        assert_eq!(option, expected);
        assert_eq!(rest.into_leaves(), [("[/a,b].VolumeOptions.Labels.c=d".to_owned(), json!("e"))]);
    }

    #[test]
    fn options_of_binds_and_tmpfs_are_translated() {
        let bind = json!({
            "Type": "bind", "Source": "/s", "Target": "/t", "ReadOnly": true,
            "BindOptions": { "Propagation": "rprivate", "ReadOnlyForceRecursive": true, "CreateMountpoint": true },
        });
        let (text, rest) = option(&bind);
        assert_eq!(
            text,
            "type=bind,source=/s,target=/t,readonly=true,bind-propagation=rprivate,bind-recursive=readonly"
        );
        assert_eq!(rest.into_leaves(), [("[/t].BindOptions.CreateMountpoint".to_owned(), json!(true))]);
        let tmpfs = json!({ "Type": "tmpfs", "Target": "/t", "TmpfsOptions": { "SizeBytes": 65536, "Mode": 0o1777 } });
        assert_eq!(option(&tmpfs).0, "type=tmpfs,target=/t,tmpfs-size=65536,tmpfs-mode=1777");
    }
}
