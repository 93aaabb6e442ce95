//! Which routers this node has, and how they are found.

mod directory;

pub use directory::Directory;
