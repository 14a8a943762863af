//! Cluster volumes, as moby's `daemon/cluster/convert/volume.go` converts them.

use serde_json::{Value, json};

use super::{
    json::{Object, map, named},
    messages::{Topology, VolumeAccessMode, VolumeSpec},
};

/// Returns what creates the volume: the body of `POST /volumes/create`.
pub(super) fn create_request(spec: VolumeSpec) -> Value {
    let annotations = spec.annotations.clone().unwrap_or_default();
    let driver = spec.driver.clone().unwrap_or_default();
    Object::default()
        .text("Name", annotations.name)
        .map("Labels", annotations.labels)
        .text("Driver", driver.name)
        .map("DriverOpts", driver.options)
        .set("ClusterVolumeSpec", cluster_volume(spec))
        .into()
}

fn cluster_volume(spec: VolumeSpec) -> Value {
    let secrets = spec.secrets.into_iter().map(|secret| json!({ "Key": secret.key, "Secret": secret.secret }));
    let range = spec.capacity_range;
    let range = range.map(|range| json!({ "RequiredBytes": range.required_bytes, "LimitBytes": range.limit_bytes }));
    let requirements = spec.accessibility_requirements.map(|requirements| {
        Object::default()
            .list("Requisite", requirements.requisite.into_iter().map(topology).collect())
            .list("Preferred", requirements.preferred.into_iter().map(topology).collect())
    });
    Object::default()
        .text("Group", spec.group)
        .some("AccessMode", spec.access_mode.map(access_mode))
        .some("AccessibilityRequirements", requirements)
        .some("CapacityRange", range)
        .list("Secrets", secrets.collect())
        .set("Availability", named(spec.availability, &["active", "pause", "drain"]))
        .into()
}

fn access_mode(mode: VolumeAccessMode) -> Value {
    let mount =
        mode.mount.map(|mount| Object::default().text("FsType", mount.fs_type).texts("MountFlags", mount.mount_flags));
    Object::default()
        .set("Scope", named(mode.scope, &["single", "multi"]))
        .set("Sharing", named(mode.sharing, &["none", "readonly", "onewriter", "all"]))
        .some("MountVolume", mount)
        .some("BlockVolume", mode.block.map(|_| json!({})))
        .into()
}

fn topology(topology: Topology) -> Value {
    match topology.segments.is_empty() {
        true => json!({}),
        false => json!({ "Segments": map(topology.segments) }),
    }
}
