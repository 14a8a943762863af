//! Where archives go.
