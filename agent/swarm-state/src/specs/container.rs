//! Containers of services, as moby's `daemon/cluster/convert/container.go` converts them.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{
    json::{Object, driver, named, nanoseconds},
    messages::{
        ConfigReference, ContainerSpec, ContainerSpecDNSConfig, ContainerSpecUlimit, FileTarget, HealthConfig, Mount,
        Privileges, PrivilegesCredentialSpec, PrivilegesSELinuxContext, PrivilegesSeccompOpts, SecretReference,
    },
};

pub(super) fn spec(spec: ContainerSpec) -> Value {
    Object::default()
        .text("Image", spec.image)
        .map("Labels", spec.labels)
        .texts("Command", spec.command)
        .texts("Args", spec.args)
        .text("Hostname", spec.hostname)
        .texts("Env", spec.env)
        .text("Dir", spec.dir)
        .text("User", spec.user)
        .texts("Groups", spec.groups)
        .some("Privileges", spec.privileges.map(privileges))
        .some("Init", spec.init.map(|init| init.value))
        .text("StopSignal", spec.stop_signal)
        .flag("TTY", spec.tty)
        .flag("OpenStdin", spec.open_stdin)
        .flag("ReadOnly", spec.read_only)
        .list("Mounts", spec.mounts.into_iter().map(mount).collect())
        .some("StopGracePeriod", spec.stop_grace_period.map(nanoseconds))
        .some("Healthcheck", spec.healthcheck.map(health_check))
        .texts("Hosts", spec.hosts)
        .some("DNSConfig", spec.dns_config.map(dns_config))
        .list("Secrets", spec.secrets.into_iter().map(secret).collect())
        .list("Configs", spec.configs.into_iter().map(config).collect())
        .set("Isolation", named(spec.isolation, &["default", "process", "hyperv"]))
        .map("Sysctls", spec.sysctls)
        .texts("CapabilityAdd", spec.capability_add)
        .texts("CapabilityDrop", spec.capability_drop)
        .list("Ulimits", spec.ulimits.into_iter().map(ulimit).collect())
        .number("OomScoreAdj", spec.oom_score_adj)
        .into()
}

fn privileges(privileges: Privileges) -> Value {
    let app_armor = privileges.apparmor.map(|opts| json!({ "Mode": named(opts.mode, &["default", "disabled"]) }));
    Object::default()
        .some("CredentialSpec", privileges.credential_spec.map(credential_spec))
        .some("SELinuxContext", privileges.selinux_context.map(selinux_context))
        .some("Seccomp", privileges.seccomp.map(seccomp))
        .some("AppArmor", app_armor)
        .flag("NoNewPrivileges", privileges.no_new_privileges)
        .into()
}

fn credential_spec(spec: PrivilegesCredentialSpec) -> Value {
    json!({
        "Config": spec.config.unwrap_or_default(),
        "File": spec.file.unwrap_or_default(),
        "Registry": spec.registry.unwrap_or_default(),
    })
}

fn selinux_context(context: PrivilegesSELinuxContext) -> Value {
    json!({
        "Disable": context.disable,
        "User": context.user,
        "Type": context.r#type,
        "Role": context.role,
        "Level": context.level,
    })
}

fn seccomp(opts: PrivilegesSeccompOpts) -> Value {
    Object::default()
        .set("Mode", named(opts.mode, &["default", "unconfined", "custom"]))
        .text("Profile", BASE64.encode(&opts.profile))
        .into()
}

fn mount(mount: Mount) -> Value {
    const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];
    let bind = mount.bind_options.map(|bind| {
        Object::default()
            .set("Propagation", named(bind.propagation, &PROPAGATIONS))
            .flag("NonRecursive", bind.nonrecursive)
            .flag("CreateMountpoint", bind.createmountpoint)
            .flag("ReadOnlyNonRecursive", bind.readonlynonrecursive)
            .flag("ReadOnlyForceRecursive", bind.readonlyforcerecursive)
    });
    let volume = mount.volume_options.map(|volume| {
        Object::default()
            .flag("NoCopy", volume.nocopy)
            .map("Labels", volume.labels)
            .text("Subpath", volume.subpath)
            .some("DriverConfig", volume.driver_config.map(driver))
    });
    let tmpfs = mount.tmpfs_options.map(|tmpfs| {
        // The engine stores the list of lists as JSON in a string.
        let options = serde_json::from_str::<Vec<Vec<String>>>(&tmpfs.options).unwrap_or_default();
        Object::default()
            .number("SizeBytes", tmpfs.size_bytes)
            .number("Mode", tmpfs.mode)
            .list("Options", options.into_iter().map(Value::from).collect())
    });
    Object::default()
        .set("Type", named(mount.r#type, &["bind", "volume", "tmpfs", "npipe", "cluster"]))
        .text("Source", mount.source)
        .text("Target", mount.target)
        .flag("ReadOnly", mount.readonly)
        .some("BindOptions", bind)
        .some("VolumeOptions", volume)
        .some("TmpfsOptions", tmpfs)
        .into()
}

fn health_check(check: HealthConfig) -> Value {
    let length = |length: Option<_>| length.map_or(0, nanoseconds);
    Object::default()
        .texts("Test", check.test)
        .number("Interval", length(check.interval))
        .number("Timeout", length(check.timeout))
        .number("StartPeriod", length(check.start_period))
        .number("StartInterval", length(check.start_interval))
        .number("Retries", check.retries)
        .into()
}

fn dns_config(config: ContainerSpecDNSConfig) -> Value {
    Object::default()
        .texts("Nameservers", config.nameservers)
        .texts("Search", config.search)
        .texts("Options", config.options)
        .into()
}

fn secret(reference: SecretReference) -> Value {
    Object::default()
        .some("File", reference.file.map(file))
        .set("SecretID", reference.secret_id)
        .set("SecretName", reference.secret_name)
        .into()
}

fn config(reference: ConfigReference) -> Value {
    Object::default()
        .some("File", reference.file.map(file))
        .some("Runtime", reference.runtime.map(|_| json!({})))
        .set("ConfigID", reference.config_id)
        .set("ConfigName", reference.config_name)
        .into()
}

fn file(target: FileTarget) -> Value {
    json!({ "Name": target.name, "UID": target.uid, "GID": target.gid, "Mode": target.mode })
}

fn ulimit(ulimit: ContainerSpecUlimit) -> Value {
    json!({ "Name": ulimit.name, "Hard": ulimit.hard, "Soft": ulimit.soft })
}
