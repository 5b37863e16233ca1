//! The index: every record of the dead-letter topic becomes, or changes, a row.
