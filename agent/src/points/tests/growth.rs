//! The number of requests, however many points there are.

use std::sync::Mutex;

use super::*;
use crate::points::list::list_in;

/// Calls of a vault, as they came.
pub type Calls = Arc<Mutex<Vec<Call>>>;

/// Wraps a vault so that its calls are counted.
pub fn counting(inner: &Arc<MemoryVault>) -> (Arc<dyn Vault>, Calls) {
    let calls = Calls::default();
    let counted = Arc::clone(&calls);
    let vault = InjectingVault::new(Arc::clone(inner) as Arc<dyn Vault>, move |call| {
        counted.lock().expect("nobody panicked").push(call.clone());
        Injected::None
    });
    (Arc::new(vault), calls)
}

fn taken(calls: &Calls) -> usize {
    std::mem::take(&mut *calls.lock().expect("nobody panicked")).len()
}

/// Stores points, one an hour, each of which follows the one before.
fn fill(vault: &MemoryVault, count: i64, key: &SecretKey) {
    let mut previous = None;
    for number in 0..count {
        let sequence = u64::try_from(number).expect("is positive") + 1;
        let point = Point { sequence, previous, ..invented(minute(number * 60), 1) };
        let bytes = packed(&point, key);
        previous = Some(point::read(&bytes).expect("is a point").digest());
        vault.overlay_at(&point.key().to_string(), bytes, minute(number * 60));
    }
}

#[tokio::test]
async fn choosing_and_making_read_no_more_of_five_thousand_than_of_fifty() {
    let host = Host::with(SHOP);
    let mut costs = Vec::new();
    for count in [50, 500, 5000] {
        let inner = Arc::new(vault("v"));
        fill(&inner, count, &host.key);
        let end = count * 60;
        for name in ["shop-db", "orders"] {
            put_stream(inner.as_ref(), name, end - 30, &host.key).await;
        }
        backup(inner.as_ref(), end - 20, &host.key).await;
        let (counted, calls) = counting(&inner);
        let vaults = [connected(counted, "v")];
        let latest = host.latest(&vaults, end).await;
        assert_eq!(latest.sequence, u64::try_from(count).expect("is positive"));
        let choosing = taken(&calls);
        let complete = host.choose(&vaults, Which::LatestComplete, end).await.expect("is there");
        assert_eq!(complete.signed.point.id, latest.id);
        taken(&calls);
        assert!(host.make(&vaults, end).await.point.is_some());
        let making = taken(&calls);
        let listed = list_in(&host.run(end), &vaults, &Default::default(), &host.keys()).await.expect("is listed");
        assert_eq!((listed.points.len() as i64, listed.findings.len()), (count + 1, 0), "{:?}", listed.findings);
        let listing = taken(&calls);
        costs.push((count, choosing, making, listing));
    }
    for (count, choosing, making, listing) in &costs {
        assert!(*choosing <= 40 && *making <= 60, "{costs:?}");
        // Each is read, and its lock.
        assert!((*listing as i64) < 2 * count + 60, "{costs:?}");
    }
}
