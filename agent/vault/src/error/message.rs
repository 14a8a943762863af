//! The words of an error: its problem, and what the operator should do.

use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter},
};

use super::VaultError;
use crate::{Lock, LockMode, object_name::STREAMS};

impl VaultError {
    /// Returns the problem without the advice.
    pub fn problem(&self) -> impl Display {
        fmt::from_fn(|f| self.write_problem(f))
    }

    /// Returns what the operator should do, if that is known.
    pub fn advice(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::NoBucket { .. } => "create it with versioning and Object Lock on, or correct `url`",
            Self::NotVersioned { .. } => "turn versioning and Object Lock on",
            Self::NoObjectLock { .. } => "turn Object Lock on, or use a bucket that has it",
            Self::LockDropped { found: None, key, .. } if key.starts_with(STREAMS) => {
                "upgrade the server: a stream is always sent in parts"
            }
            Self::LockDropped { found: None, .. } => {
                "upgrade the server, or raise `multipart_threshold` above the size of a backup"
            }
            Self::LockDropped { found: Some(_), .. } => "look for a bucket policy or default that changes locks",
            Self::AccessDenied { .. } => "grant it to these credentials",
            Self::WrongCredentials { .. } => "check the access key, the secret and this host's clock",
            Self::Proxy { .. } => "it may want a login (`proxy_login_file`) or forbid the vault's address: see its log",
            Self::NotS3 { .. } => {
                "check `endpoint`, and whether a proxy or a login page (a captive portal) is in between"
            }
            Self::NotSupported { way_out, .. } => way_out,
            Self::WrongRegion { region, .. } => {
                return Some(Cow::Owned(format!("set `region = \"{region}\"` for this vault")));
            }
            Self::PersonalLogin { .. } => {
                "use the role of the instance, an access key in `credentials_file`, or a profile with \
                 `credential_process` or `role_arn`"
            }
            Self::ChecksumMismatch { .. } => "check the network and the vault's disks, then run again",
            Self::NoSpace { .. } => "free space or raise the quota",
            Self::Unreachable { .. } => "check the network and the endpoint, then run again",
            Self::Sink { .. } => "free space at the destination and run again",
            Self::Unusable { advice, .. } => advice,
            Self::AlreadyExists { .. }
            | Self::NotFound { .. }
            | Self::InvalidKey { .. }
            | Self::Abandoned { .. }
            | Self::File { .. }
            | Self::Other { .. } => return None,
        }))
    }

    fn write_problem(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBucket { vault, detail } => write!(f, "{vault}: there is no such bucket ({detail})"),
            Self::NotVersioned { vault } => {
                write!(f, "{vault}: the bucket keeps no versions, so a stored backup could be overwritten")
            }
            Self::NoObjectLock { vault } => {
                write!(f, "{vault}: the bucket has no Object Lock, so a stored backup could be deleted")
            }
            Self::LockDropped { vault, key, asked, found } => write_dropped_lock(f, vault, key, asked, found.as_ref()),
            Self::AccessDenied { vault, action, detail } => write!(f, "{vault}: not allowed to {action} ({detail})"),
            Self::WrongCredentials { vault, detail } => write!(f, "{vault}: the credentials do not work ({detail})"),
            Self::Proxy { vault, proxy, detail } => {
                write!(f, "{vault}: the proxy {proxy} does not pass this on ({detail})")
            }
            Self::NotSupported { vault, action, what, detail, .. } => {
                write!(f, "{vault}: failed to {action}: the server does not know {what} ({detail})")
            }
            Self::WrongRegion { vault, action, region, detail } => {
                write!(f, "{vault}: failed to {action}: the bucket is in the region `{region}` ({detail})")
            }
            Self::PersonalLogin { vault, profile } => write!(
                f,
                "{vault}: the profile{profile} is one that a person logs in to (SSO, `aws login`), and on a manager \
                 nobody does: its sessions end after hours"
            ),
            Self::AlreadyExists { vault, key, found } => {
                write!(f, "{vault}: `{key}` exists already ({found}); nothing was replaced")
            }
            Self::ChecksumMismatch { vault, key, expected, found } => {
                write!(f, "{vault}: the bytes of `{key}` are not the ones sent: expected {expected}, found {found}")
            }
            Self::NoSpace { vault, action, detail } => write!(f, "{vault}: no room to {action} ({detail})"),
            Self::NotFound { vault, key } => {
                write!(f, "{vault}: there is no `{key}`; it was deleted, or never stored")
            }
            Self::Abandoned { vault, key } => {
                write!(f, "{vault}: nothing was stored as `{key}`, because its stream ended before it was complete")
            }
            Self::InvalidKey { vault, key, why } => write!(f, "{vault}: `{key}` cannot be a key of this vault: {why}"),
            Self::File { action, path, .. } => write!(f, "failed to {action} `{}`", path.display()),
            Self::Sink { key, .. } => write!(f, "failed to write the bytes fetched of `{key}`"),
            Self::NotS3 { vault, action, detail }
            | Self::Unreachable { vault, action, detail }
            | Self::Unusable { vault, action, detail, .. }
            | Self::Other { vault, action, detail } => write!(f, "{vault}: failed to {action}: {detail}"),
        }
    }
}

impl Display for VaultError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_problem(f)?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

fn write_dropped_lock(
    f: &mut Formatter<'_>,
    vault: &str,
    key: &str,
    asked: &Lock,
    found: Option<&Lock>,
) -> fmt::Result {
    write!(f, "{vault}: `{key}` was asked to be locked in {} mode until {}, but the server ", asked.mode, asked.until)?;
    match found {
        None => f.write_str(
            "dropped the lock without an error (Ceph before version 20 does that to multipart uploads): the copy can be \
             deleted",
        ),
        Some(Lock { mode, until }) => write!(f, "gave it {mode} until {until}"),
    }
}

impl Display for LockMode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compliance => "COMPLIANCE",
            Self::Governance => "GOVERNANCE",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_follows_the_problem_and_never_comes_from_the_words_of_a_server() {
        let own = || "a; b".to_owned();
        let (vault, action, detail) = (own(), own(), own());
        let error = VaultError::NoSpace { vault, action, detail };
        assert_eq!(error.advice().as_deref(), Some("free space or raise the quota"));
        assert_eq!(error.problem().to_string(), "a; b: no room to a; b (a; b)");
        assert_eq!(error.to_string(), "a; b: no room to a; b (a; b); free space or raise the quota");
        let region = VaultError::WrongRegion { vault: own(), action: own(), region: "eu".into(), detail: own() };
        assert!(region.to_string().ends_with("; set `region = \"eu\"` for this vault"), "{region}");
        for (key, advice) in [
            ("c/x.swarmdr", "raise `multipart_threshold` above the size of a backup"),
            ("streams/c/db/x.stream", "upgrade the server: a stream is always sent in parts"),
        ] {
            let asked = Lock { mode: LockMode::Compliance, until: jiff::Timestamp::UNIX_EPOCH };
            let error = VaultError::LockDropped { vault: own(), key: key.into(), asked, found: None };
            assert!(error.to_string().ends_with(advice), "{error}");
        }
        for error in [
            VaultError::NotFound { vault: own(), key: own() },
            VaultError::Other { vault: own(), action: own(), detail: own() },
        ] {
            assert!(error.advice().is_none() && error.to_string() == error.problem().to_string(), "{error}");
        }
    }
}
