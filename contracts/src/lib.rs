//! What crosses the wire: contracts, signatures, topics, headers and codes. No I/O, no clock.
