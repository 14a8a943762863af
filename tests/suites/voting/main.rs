//! An application whose site is destroyed while people vote: what its stream had counted is counted again on a new site.

mod story;
