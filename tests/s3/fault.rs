//! Faults of the server itself.

use anyhow::Result;

use super::Rgw;

impl Rgw {
    /// Answers a user with `503 SlowDown` from now on, for all but one write and one read a minute. Not on
    /// [`super::Release::Old`].
    pub fn limit_rate(&self, user: &str) -> Result<()> {
        let of = format!("--uid={user}");
        let scope = "--ratelimit-scope=user";
        self.admin(&["ratelimit", "set", scope, "--max-write-ops=1", "--max-read-ops=1", &of])?;
        self.admin(&["ratelimit", "enable", scope, &of])
    }

    pub fn lift_rate_limit(&self, user: &str) -> Result<()> {
        self.admin(&["ratelimit", "disable", "--ratelimit-scope=user", &format!("--uid={user}")])
    }

    /// Answers every put into a bucket with `403 QuotaExceeded` from now on.
    pub fn exhaust_quota(&self, bucket: &str) -> Result<()> {
        let of = format!("--bucket={bucket}");
        self.admin(&["quota", "set", "--quota-scope=bucket", "--max-objects=0", &of])?;
        self.admin(&["quota", "enable", "--quota-scope=bucket", &of])
    }

    pub fn lift_quota(&self, bucket: &str) -> Result<()> {
        self.admin(&["quota", "disable", "--quota-scope=bucket", &format!("--bucket={bucket}")])
    }

    /// Answers every request of a user with `403 UserSuspended` from now on.
    pub fn suspend(&self, user: &str) -> Result<()> {
        self.admin(&["user", "suspend", &format!("--uid={user}")])
    }

    pub fn pardon(&self, user: &str) -> Result<()> {
        self.admin(&["user", "enable", &format!("--uid={user}")])
    }

    /// Makes requests hang from now on, as with a dead disk, until [`thaw_storage`](Self::thaw_storage) lets them
    /// finish.
    pub fn freeze_storage(&self) -> Result<()> {
        self.cluster.freeze()
    }

    pub fn thaw_storage(&self) -> Result<()> {
        self.cluster.thaw()
    }

    fn admin(&self, args: &[&str]) -> Result<()> {
        self.cluster.sandbox.run("radosgw-admin", args).map(drop)
    }
}
