//! Runs applied jobs: sends what is due, at the job's rate, and follows every item to its outcome.
