//! Orders for a [`super::Front`], and what it has seen.

/// Fault that is injected into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with `429 TOOMANYREQUESTS` and `Retry-After`, in seconds; the registry never sees it.
    TooMany { retry_after: u64 },
    /// Answered with this status and this code of an error; the registry never sees it.
    Refuse { status: u16, code: &'static str },
    /// Never answered, with the connection held open; the registry never sees it.
    Silence,
    /// Carried out by the registry in full; the answer is thrown away and the connection closed.
    LoseAnswer,
    /// The connections are closed after this many bytes of the answer's body.
    Cut { after: u64 },
    /// The connections are closed after this many bytes of the request's body.
    CutUpload { after: u64 },
    /// The byte of the answer's body at this offset arrives inverted.
    Corrupt { at: u64 },
}

/// A request that came to a front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// Path with its query.
    pub path: String,
    /// Status of the answer; 0 if none was sent, or not yet.
    pub status: u16,
    /// Whether it had an Authorization header.
    pub authorized: bool,
}

/// An order to inject a fault. The oldest one that matches is used up first.
#[derive(Debug)]
struct Order {
    method: String,
    part: String,
    times: usize,
    fault: Fault,
}

impl Order {
    fn matches(&self, seen: &Seen) -> bool {
        let method = self.method == "*" || self.method == seen.method;
        self.times > 0 && method && seen.path.contains(&self.part)
    }
}

#[derive(Debug, Default)]
pub(super) struct Book {
    orders: Vec<Order>,
    /// Requests that were forgotten: the numbers of the others go on after them.
    forgotten: usize,
    pub seen: Vec<Seen>,
    /// URL before the digest to which requests for blobs are sent.
    pub blobs_at: Option<String>,
    pub hides_location: bool,
}

impl Book {
    pub fn order(&mut self, method: &str, part: &str, times: usize, fault: Fault) {
        self.orders.push(Order { method: method.to_owned(), part: part.to_owned(), times, fault });
    }

    /// Records a request, and returns its number and the fault to inject into it.
    pub fn enter(&mut self, seen: Seen) -> (usize, Option<Fault>) {
        let order = self.orders.iter_mut().find(|order| order.matches(&seen));
        self.seen.push(seen);
        let fault = order.map(|order| {
            order.times -= 1;
            order.fault
        });
        (self.forgotten + self.seen.len() - 1, fault)
    }

    /// Records the status of the answer to a request, by its number.
    pub fn note(&mut self, number: usize, status: u16) {
        if let Some(seen) = number.checked_sub(self.forgotten).and_then(|at| self.seen.get_mut(at)) {
            seen.status = status;
        }
    }

    pub fn forget(&mut self) {
        self.forgotten += self.seen.len();
        self.seen.clear();
    }

    pub fn heal(&mut self) {
        self.orders.clear();
    }
}
