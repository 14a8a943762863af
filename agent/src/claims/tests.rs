//! The promises of claims, against vaults that anyone may write to.
