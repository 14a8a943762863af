//! Nodes and tasks of a swarm, as raw JSON.

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use super::{
    objects::{Objects, id_in_path, objects},
    raw_call::{call, get, in_time},
};

impl Objects {
    /// Returns one node.
    pub async fn node(&self, id: &str) -> Result<Value> {
        let found = get(&self.socket, &format!("{}/nodes/{}", self.version, id_in_path(id)?)).await;
        found.with_context(|| format!("failed to read the node {id}"))
    }

    /// Gives a node another spec: role, availability, labels. `version` is that of the node when it was read: if it has
    /// been changed since, the engine refuses. Returns once a majority of the managers has the change.
    pub async fn update_node(&self, id: &str, version: u64, spec: &Value) -> Result<()> {
        let path = format!("{}/nodes/{}/update?version={version}", self.version, id_in_path(id)?);
        let body = Bytes::from(serde_json::to_vec(spec)?);
        let updated = in_time(call(&self.socket, Method::POST, &path, body)).await;
        updated.map(drop).with_context(|| format!("failed to update the node {id}"))
    }

    /// Removes a node from the swarm's list unless it is ready. The leader decides that in the same step (swarmkit
    /// `manager/controlapi/node.go`, `RemoveNode`), so a node that has come back a moment ago is not removed.
    pub async fn remove_absent_node(&self, id: &str) -> Result<()> {
        let path = format!("{}/nodes/{}", self.version, id_in_path(id)?);
        let removed = in_time(call(&self.socket, Method::DELETE, &path, Bytes::new())).await;
        removed.map(drop).with_context(|| format!("failed to remove the node {id}"))
    }

    /// Lists the tasks of all services, those that are over too.
    pub async fn all_tasks(&self) -> Result<Vec<Value>> {
        let list = get(&self.socket, &format!("{}/tasks", self.version)).await;
        objects(list.context("failed to list the swarm's tasks")?)
    }
}
