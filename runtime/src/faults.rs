//! Bugs and crashes on purpose, for the tests of the tests: a check that never fails proves nothing.
//!
//! Only what is built with the feature `faults` has them. The crate `chaos` switches it on, so builds with `--workspace` have it; a program
//! that is built alone (`cargo build -p eventflow`: the demo, the image) has nothing of it, not even the names. There [`planted`] is a
//! constant, and every hook compiles to nothing.
//!
//! - `EVENTFLOW_PLANTED=<name>` switches on one bug of `PLANTED`, for the whole process.
//! - `EVENTFLOW_KILL_AT=<point>[:<N>]` aborts the process at a point of `POINTS`, on average once in N passes (every time without N).
//! - `EVENTFLOW_CLOCK_OFFSET_SECONDS=<N>` makes the wall clock of the process wrong by N seconds, which may be negative.
//!
//! A name that is in neither list, or an offset that is no number, ends the process with exit code 2 and what there is.

#[cfg(feature = "faults")]
mod planted;
#[cfg(feature = "faults")]
mod points;
#[cfg(feature = "faults")]
mod switches;

#[cfg(feature = "faults")]
pub use planted::{PLANTED, Planted};
#[cfg(feature = "faults")]
pub use points::{POINTS, Point};
#[cfg(feature = "faults")]
pub use switches::{check, clock, kill_point, planted};

#[cfg(not(feature = "faults"))]
pub use without::{check, clock, kill_point, planted};

/// What remains where the feature is off.
#[cfg(not(feature = "faults"))]
mod without {
    /// Nothing is planted.
    #[must_use]
    #[inline(always)]
    pub const fn planted(_name: &str) -> bool {
        false
    }

    /// No process ends here.
    #[inline(always)]
    pub const fn kill_point(_name: &str) {}

    /// The clock is right.
    #[must_use]
    #[inline(always)]
    pub const fn clock(now: std::time::SystemTime) -> std::time::SystemTime {
        now
    }

    /// There are no switches to check.
    #[inline(always)]
    pub const fn check() {}
}
