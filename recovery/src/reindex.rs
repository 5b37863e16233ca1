//! The index made anew from the dead-letter topic.
