//! Checks raw records against their contracts and publishes the validated ones.
