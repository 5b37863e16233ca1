//! The JSON of the HTTP API, and the command line's selection. Depends on nothing else in this crate.

mod audit;
mod audit_log;
mod dead_letter;
mod event;
mod explanation;
mod group;
mod now;
mod rejection;
mod replay;
mod selection;
mod text_enum;
mod trace;

pub use audit::{Audit, AuditCell, AuditHours, AuditPartition, Finding, FindingKind, Hour};
pub use audit_log::{AuditLogCheck, AuditLogEntry, BrokenEntry};
pub use dead_letter::{
    DeadLetter, DeadLetterDetail, DeadLetterPage, DeadLetterState, EarlierFailure, Edit,
    EditPreview, EditSummary, Format, PatchPreview, Payload, Refusal, Resolution,
};
pub use event::{
    EventDetail, EventFate, EventFilter, EventPage, EventSummary, ReceivedRecord, StoredRow,
};
pub use explanation::Explanation;
pub use group::{DeadLetterGroup, IndexStats};
pub use now::{
    Attention, AttentionKind, DeadLettersNow, FatesNow, Now, Quantiles, RoleKind, RoleNow,
    RoleState, SourceNow, TopicNow,
};
pub use rejection::{
    RefusedRequestRow, RejectionDetail, RejectionExplanation, RejectionFilter, RejectionGroup,
    RejectionPage,
};
pub use replay::{DryRun, DryRunSample, ItemState, Job, JobItem, JobKind, JobState, Prediction};
pub use selection::{Selection, parse_time};
pub use trace::{StepKind, Timeline, Trace, TraceFate, TraceStep};

/// A time, RFC 3339 in JSON.
pub type Time = time::OffsetDateTime;

/// A time that Kafka headers and Avro give in microseconds since the epoch; none outside the calendar.
pub(crate) fn time_of_micros(micros: i64) -> Option<Time> {
    Time::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}
