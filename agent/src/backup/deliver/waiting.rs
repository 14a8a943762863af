//! The archives that earlier runs left in the spool.

use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};

use super::{Delivery, Uploader};
use crate::{
    backup::spool::{self, Spooled},
    vaults::{Archive, Connected},
};

impl Uploader {
    /// Sends the archives that earlier runs could not store, oldest first. One that fails again stays in the spool; a
    /// file that is no archive is set aside.
    pub async fn send_waiting(&mut self) -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        for waiting in self.spool.waiting()? {
            match self.read(&waiting).await? {
                Ok(archive) => deliveries.push(self.deliver(&archive, Duration::ZERO).await?),
                Err(error) => self.keep_or_set_aside(&waiting, &error)?,
            }
        }
        for path in self.spool.damaged()? {
            self.attention.push(format!("{} was set aside because it is damaged; examine it", path.display()));
        }
        self.make_room(&deliveries)?;
        Ok(deliveries)
    }

    /// Does what [`Self::send_waiting`] does with other clients of the same vaults, in the same order.
    pub async fn send_waiting_to(&mut self, mut clients: Vec<Connected>) -> Result<Vec<Delivery>> {
        let vaults = |uploader: &Self| uploader.connected().into_iter().map(|it| it.settings.url);
        ensure!(vaults(self).eq(clients.iter().map(|it| it.settings.url.clone())), "the vaults are others than before");
        self.exchange(&mut clients);
        let sent = self.send_waiting().await;
        self.exchange(&mut clients);
        sent
    }

    fn exchange(&mut self, clients: &mut [Connected]) {
        self.routes.iter_mut().zip(clients).for_each(|(route, client)| std::mem::swap(&mut route.to, client));
    }

    async fn read(&self, waiting: &Spooled) -> Result<Result<Archive>> {
        let (path, keys) = (waiting.path.clone(), self.keys.clone());
        let read = tokio::task::spawn_blocking(move || Archive::read(&path, &keys));
        read.await.context("the check of a waiting archive ended unexpectedly")
    }

    /// Sets aside a waiting file that is no archive. One that cannot be read, that has an unknown format version, or
    /// that is signed by a key that is not trusted now may be good: it stays, and is reported.
    fn keep_or_set_aside(&mut self, waiting: &Spooled, error: &Error) -> Result<()> {
        use swarmdr_archive::Error as Bad;
        match error.downcast_ref::<Bad>() {
            Some(Bad::Io { .. } | Bad::UnknownKey { .. } | Bad::UnsupportedVersion { .. }) | None => {
                self.attention.push(format!("{} still waits: {error:#}", waiting.path.display()));
            }
            Some(_) => {
                let to = self.spool.set_aside(waiting)?;
                tracing::error!("{error:#}; it was moved to {}", to.display());
            }
        }
        Ok(())
    }

    /// Removes archives that every required vault has from a full spool, oldest first. A vault that is not required
    /// must not stop backups by filling the spool.
    fn make_room(&mut self, deliveries: &[Delivery]) -> Result<()> {
        let redundant = |spooled: &Spooled| deliveries.iter().find(|it| it.id == spooled.id && it.is_stored());
        loop {
            let waiting = self.spool.waiting()?;
            let oldest = waiting.iter().find_map(|spooled| Some((spooled, redundant(spooled)?)));
            let Some((spooled, delivery)) = oldest.filter(|_| spool::is_full(&waiting, &self.limits)) else {
                return Ok(());
            };
            self.spool.release(&spooled.path)?;
            self.attention.push(format!(
                "the spool is full, so {} no longer waits for a vault that is not required: {}; it is kept in {}",
                delivery.id,
                delivery.complaints().join("; "),
                delivery.places()
            ));
        }
    }
}
