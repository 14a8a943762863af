//! AWS, as far as one machine can emulate it: moto creates real stacks from the templates. Locks and the enforcement of
//! policies, which moto does not know, are tested on Ceph gateways.

use std::{
    env,
    fs::File,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    lab::{Lab, wait_for},
    packages::checkout,
    s3::Identity,
    tree::{cache, capture},
};

const PORT: u16 = 5000;

/// Returns the path of a program in the environment that `tests/run` makes: `SWARMDR_AWS_TOOLS`, else the one in the
/// cache.
pub fn tool(name: &str) -> Result<PathBuf> {
    let environment = match env::var_os("SWARMDR_AWS_TOOLS") {
        Some(named) => named.into(),
        None => newest_environment()?,
    };
    let program = environment.join("bin").join(name);
    ensure!(program.exists(), "{} is missing: run tests/run once, which installs it", program.display());
    Ok(program)
}

fn newest_environment() -> Result<PathBuf> {
    let entries = std::fs::read_dir(cache())?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.to_string_lossy().contains("/aws-tools-") && path.join("complete").exists())
        .collect();
    found.sort();
    found.pop().context("there is no environment with cfn-lint and moto: run tests/run once, or set SWARMDR_AWS_TOOLS")
}

/// An emulator on the network of a lab, which ends when dropped.
#[derive(Debug)]
pub struct Moto {
    lab: Lab,
    server: Child,
}

impl Moto {
    pub fn start(lab: &Lab) -> Result<Self> {
        let log = lab.dir().join("moto.log");
        let server = lab
            .command(&tool("moto_server")?.to_string_lossy())
            // State machines call the server itself, on its own loopback.
            .args(["-H", "0.0.0.0", "-p", &PORT.to_string()])
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("failed to start moto_server")?;
        let moto = Self { lab: lab.clone(), server };
        let address = SocketAddr::from((lab.gateway_ip(), PORT));
        wait_for("moto to listen", Duration::from_secs(120), || {
            Ok(lab.netns().within(|| TcpStream::connect(address)).is_ok_and(|it| it.is_ok()).then_some(()))
        })
        .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(moto)
    }

    /// URL for hosts of the lab.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{PORT}", self.lab.gateway_ip())
    }

    /// Runs `client.py` and returns its output.
    pub fn ask(&self, args: &[&str]) -> Result<String> {
        let mut command = self.lab.command(&tool("python3")?.to_string_lossy());
        let answer = capture(command.arg(checkout().join("tests/aws/client.py")).arg(self.endpoint()).args(args))?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // The server keeps no state that outlives it.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Gives a user of a gateway's account a policy of its own, through the gateway's IAM, as the account's root.
pub fn put_user_policy(endpoint: &str, authority: &Path, root: &Identity, user: &str, policy: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), policy)?;
    let mut command = Command::new(tool("python3")?);
    command
        .arg(checkout().join("tests/aws/client.py"))
        .args([endpoint, "put-user-policy", user])
        .arg(file.path())
        .env("AWS_CA_BUNDLE", authority)
        .env("AWS_ACCESS_KEY_ID", &root.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &root.secret_key);
    capture(&mut command).map(drop)
}
