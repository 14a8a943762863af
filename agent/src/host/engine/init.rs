//! The request that forms a one-manager cluster from the state on disk.

use bollard::models::{SwarmInitRequest, SwarmSpec, SwarmSpecCaConfig, SwarmSpecEncryptionConfig};
use serde::{Deserialize, Serialize};

/// The body of `POST /swarm/init`, as far as the agent sets it.
///
/// `DefaultAddrPool` is absent on purpose: without it pool, subnet size and VXLAN port are read from the raft log
/// (swarmkit `manager/manager.go`). Auto-lock and force-rotate must be there: the engine takes their absence as "off"
/// and as "rotate the CA now" (moby `daemon/cluster/convert/swarm.go`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRequest {
    pub listen_addr: String,
    pub advertise_addr: String,
    pub data_path_addr: Option<String>,
    pub auto_lock_managers: bool,
    pub force_rotate: u64,
}

impl InitRequest {
    pub(super) fn to_api(&self) -> SwarmInitRequest {
        SwarmInitRequest {
            listen_addr: Some(self.listen_addr.clone()),
            advertise_addr: Some(self.advertise_addr.clone()),
            data_path_addr: self.data_path_addr.clone(),
            force_new_cluster: Some(true),
            spec: Some(SwarmSpec {
                encryption_config: Some(SwarmSpecEncryptionConfig {
                    auto_lock_managers: Some(self.auto_lock_managers),
                }),
                ca_config: Some(SwarmSpecCaConfig {
                    force_rotate: Some(self.force_rotate),
                    ..SwarmSpecCaConfig::default()
                }),
                ..SwarmSpec::default()
            }),
            ..SwarmInitRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_is_handed_back_and_the_address_pool_is_not() {
        let request = InitRequest {
            listen_addr: "0.0.0.0:2377".to_owned(),
            advertise_addr: "10.0.0.4:2377".to_owned(),
            data_path_addr: None,
            auto_lock_managers: false,
            force_rotate: 7,
        };
        let body = request.to_api();
        assert_eq!(body.force_new_cluster, Some(true));
        assert_eq!(body.advertise_addr.as_deref(), Some("10.0.0.4:2377"));
        assert_eq!(body.listen_addr.as_deref(), Some("0.0.0.0:2377"));
        // If absent, the engine would take the pool from its defaults, and these two as "off" and "rotate".
        assert_eq!(body.default_addr_pool, None);
        let spec = body.spec.expect("is sent");
        assert_eq!(spec.encryption_config.expect("is sent").auto_lock_managers, Some(false));
        assert_eq!(spec.ca_config.expect("is sent").force_rotate, Some(7));
    }
}
