//! The smallest Ceph cluster that carries a gateway: one monitor, and one OSD that keeps its objects in memory,
//! or in a file.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::sandbox::{Daemon, Sandbox};

const MONITOR_PORT: u16 = 13300;
const CLUSTER_ID: &str = "9c1f1c0e-54a5-4c7b-8f5e-0d6c5f3f7e21";
const OSD_ID: &str = "5f0bb7a1-6c34-4d8c-9d0a-2f6f3f6d8a11";

/// Where objects are, for stores that fit into memory.
const MEMORY: &str = "osd_objectstore = memstore\nmemstore_device_bytes = 8589934592";

/// Where objects are, for larger stores: in a file without blocks for what was never written. It never gets smaller, so it is
/// not much larger than what one test stores at a time.
const DISK: &str = "osd_objectstore = bluestore\nbluestore_block_size = 42949672960\nosd_memory_target = 1073741824";

#[derive(Debug)]
pub(super) struct Cluster {
    pub sandbox: Sandbox,
    osd: Daemon,
}

impl Cluster {
    /// Starts the cluster in about half a second. Every command waits by itself for the one before.
    ///
    /// With `disk` the objects are in a file in `/run/osd`, which takes up space as they do.
    pub fn start(sandbox: Sandbox, disk: bool) -> Result<Self> {
        let address = sandbox.address();
        sandbox.write("/run/ceph.conf", &config(address, if disk { DISK } else { MEMORY }))?;
        sandbox.run("mkdir", &["-p", "/run/mon", "/run/osd", "/run/rgw"])?;

        let monitor = format!("[v2:{address}:{MONITOR_PORT}]");
        sandbox.run("monmaptool", &["--create", "--fsid", CLUSTER_ID, "--addv", "a", &monitor, "/run/monmap"])?;
        sandbox.run("ceph-mon", &["--mkfs", "-i", "a", "--monmap", "/run/monmap"])?;
        sandbox.spawn("mon", "ceph-mon -f -i a")?;
        sandbox.run("ceph", &["osd", "new", OSD_ID])?;
        sandbox.run("ceph-osd", &["--mkfs", "-i", "0", "--osd-uuid", OSD_ID])?;
        let osd = sandbox.spawn("osd", "ceph-osd -f -i 0")?;
        Ok(Self { sandbox, osd })
    }

    /// Makes every request hang, also reads, until [`thaw`](Self::thaw).
    pub fn freeze(&self) -> Result<()> {
        self.sandbox.signal(&self.osd, "STOP")
    }

    pub fn thaw(&self) -> Result<()> {
        self.sandbox.signal(&self.osd, "CONT")
    }
}

fn config(address: Ipv4Addr, store: &str) -> String {
    format!(
        "\
[global]
fsid = {CLUSTER_ID}
mon_initial_members = a
mon_host = [v2:{address}:{MONITOR_PORT}/0]
public_addr = {address}
ms_bind_msgr1 = false

# Nobody else reaches this loopback address. Without the second line clients that need no key are still asked for one.
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc

# One copy, few placement groups, and a vote that does not wait for more changes: a start of a second.
{store}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.05

# Debian builds in a path relative to the root.
osd_class_dir = /usr/lib/x86_64-linux-gnu/rados-classes
mon_data = /run/mon
osd_data = /run/osd
rgw_data = /run/rgw
run_dir = /run
crash_dir = /run
admin_socket =
log_file =
log_to_stderr = true
err_to_stderr = true
mon_cluster_log_to_file = false
debug_rocksdb = 1

# A full quota is full at once, not when a cache expires.
rgw_bucket_quota_ttl = 0
"
    )
}
