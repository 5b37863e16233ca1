//! Every route once: what it is called, who may, what it takes and answers. The router and `/openapi.json` are both made of this.

use super::input::SELECTION;
use super::role::TokenRole::{self, Operator, Viewer};
use super::{dead_letters, events, rejections, replays};
use crate::context::Context;
use axum::http::Method;
use axum::routing::{MethodRouter, get, post, put};
use serde_json::{Value, json};

/// One method of one path.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) role: TokenRole,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// Words of its query
    pub(super) words: Vec<&'static str>,
    /// Name of the body's schema
    pub(super) body: Option<&'static str>,
    /// Name of the answer's schema
    pub(super) answer: &'static str,
    /// Works on many dead letters at once and may take minutes
    pub(super) slow: bool,
    pub(super) handler: MethodRouter<Context>,
}

impl Endpoint {
    fn new(
        role: TokenRole,
        path: &'static str,
        id: &'static str,
        answer: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method: Method::GET,
            path,
            role,
            id,
            summary,
            words: vec![],
            body: None,
            answer,
            slow: false,
            handler: MethodRouter::new(),
        }
    }

    fn words(mut self, words: &[&'static str]) -> Self {
        self.words.extend(words);
        self
    }

    fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    fn at(mut self, method: Method, handler: MethodRouter<Context>) -> Self {
        (self.method, self.handler) = (method, handler);
        self
    }
}

pub(super) fn all() -> Vec<Endpoint> {
    let read = |path, id, answer, summary| Endpoint::new(Viewer, path, id, answer, summary);
    let change = |path, id, answer, summary| Endpoint::new(Operator, path, id, answer, summary);
    vec![
        read("/api/v1/dead-letters", "listDeadLetters", "Letters", "Dead letters, the newest first; open ones unless state says otherwise")
            .words(&SELECTION)
            .words(&["before"])
            .at(Method::GET, get(dead_letters::list)),
        read("/api/v1/groups", "listGroups", "Groups", "What dead letters have in common, the largest group first")
            .words(&SELECTION)
            .at(Method::GET, get(dead_letters::groups)),
        read("/api/v1/now", "now", "Now", "The pipeline now: its sources, roles and topics with rates, lag and readiness, what needs a person, and every record by its fate")
            .at(Method::GET, get(dead_letters::now)),
        read("/api/v1/stats", "stats", "Stats", "Totals of the index").at(Method::GET, get(dead_letters::stats)),
        read("/api/v1/dead-letters/{id}", "showDeadLetter", "LetterDetail", "Everything about one dead letter")
            .at(Method::GET, get(dead_letters::show)),
        read("/api/v1/dead-letters/{id}/explain", "explainDeadLetter", "Explanation", "What failed, whether it would pass today, and what to do next")
            .at(Method::GET, get(dead_letters::explain)),
        read("/api/v1/dead-letters/{id}/value", "getValue", "Value", "The value as editable text")
            .at(Method::GET, get(dead_letters::value)),
        change(
            "/api/v1/dead-letters/{id}/value",
            "putValue",
            "Edited",
            "Edit the value: a new one that passes today's checks; the original stays",
        )
        .body("NewValue")
        .at(Method::PUT, put(dead_letters::edit)),
        change(
            "/api/v1/dead-letters/{id}/check",
            "checkValue",
            "EditPreview",
            "What a new value would change, and why it would be refused; nothing is changed",
        )
        .body("NewValue")
        .at(Method::POST, post(dead_letters::check)),
        change(
            "/api/v1/dead-letters/patch/preview",
            "previewPatch",
            "PatchPreview",
            "What a JSON Patch would make of the newest ten of a selection, and why it would be refused; nothing is changed",
        )
        .body("Patch")
        .at(Method::POST, post(dead_letters::preview)),
        change(
            "/api/v1/dead-letters/patch",
            "patchDeadLetters",
            "Edited",
            "Apply one JSON Patch to all of a selection, or to none. Needs Idempotency-Key",
        )
        .body("Patch")
        .slow()
        .at(Method::POST, post(dead_letters::patch)),
        change(
            "/api/v1/dead-letters/discard",
            "discardDeadLetters",
            "Discarded",
            "Discard the open ones of a selection, with a reason",
        )
        .body("Discard")
        .slow()
        .at(Method::POST, post(dead_letters::discard)),
        change(
            "/api/v1/dead-letters/genuine",
            "callDeadLettersGenuine",
            "Genuine",
            "Say that the vendor sent the open unverified ones of a selection, with a reason; only then can they be replayed",
        )
        .body("Vouch")
        .slow()
        .at(Method::POST, post(dead_letters::genuine)),
        read("/api/v1/export", "exportDeadLetters", "Lines", "A selection as JSON lines, value, key and headers verbatim")
            .words(&SELECTION)
            .at(Method::GET, get(dead_letters::export)),
        change(
            "/api/v1/replays",
            "planReplay",
            "Job",
            "Plan a replay of a selection's open dead letters. Needs Idempotency-Key",
        )
        .body("Plan")
        .slow()
        .at(Method::POST, post(replays::plan)),
        change(
            "/api/v1/revalidations",
            "planRevalidation",
            "Job",
            "Plan a revalidation of stored events, selected by source, event_type, since, until and limit: a job as a replay is. Needs Idempotency-Key",
        )
        .body("Plan")
        .slow()
        .at(Method::POST, post(replays::plan_revalidation)),
        read("/api/v1/replays", "listReplays", "Jobs", "Replays and revalidations, the newest first; in whatever state, unless state says otherwise. `before` is the id of the last of a page")
            .words(&["state", "before", "limit"])
            .at(Method::GET, get(replays::history)),
        read("/api/v1/replays/{id}", "showReplay", "Job", "One replay and its progress").at(Method::GET, get(replays::show)),
        read("/api/v1/replays/{id}/items", "listItems", "Items", "The state of each of its items")
            .words(&["state", "limit"])
            .at(Method::GET, get(replays::items)),
        change("/api/v1/replays/{id}/dry-run", "dryRun", "DryRun", "Run today's checks on it; nothing is sent")
            .slow()
            .at(Method::POST, post(replays::dry_run)),
        change("/api/v1/replays/{id}/apply", "applyReplay", "Job", "Start it, or change its rate")
            .body("Apply")
            .at(Method::POST, post(replays::apply)),
        change("/api/v1/replays/{id}/approve", "approveReplay", "Job", "Approve it as a second person")
            .at(Method::POST, post(replays::approve)),
        change("/api/v1/replays/{id}/pause", "pauseReplay", "Job", "Pause it until it is resumed")
            .at(Method::POST, post(replays::pause)),
        change("/api/v1/replays/{id}/resume", "resumeReplay", "Job", "Resume it").at(Method::POST, post(replays::resume)),
        change("/api/v1/replays/{id}/stop", "stopReplay", "Job", "Stop it for good; what was sent is followed to its end")
            .at(Method::POST, post(replays::stop)),
        read("/api/v1/log", "auditLog", "Log", "Who did what, when and why, the newest first. `before` is the number of the last of a page")
            .words(&["job", "letter", "before", "limit"])
            .at(Method::GET, get(replays::log)),
        read("/api/v1/log/verify", "verifyAuditLog", "LogCheck", "Whether the audit log is as it was written: its chain of hashes, followed once more")
            .slow()
            .at(Method::GET, get(replays::verify_log)),
        read("/api/v1/rejections", "listRejections", "Rejections", "Requests that the edge refused, a sample of them, the newest first")
            .words(&rejections::FILTER)
            .words(&["before"])
            .at(Method::GET, get(rejections::list)),
        read("/api/v1/rejection-groups", "listRejectionGroups", "RejectionGroups", "Refused requests by source and code, the most refused first")
            .words(&rejections::FILTER)
            .at(Method::GET, get(rejections::groups)),
        read("/api/v1/rejections/{id}", "showRejection", "RejectionDetail", "Everything that is kept of one refused request")
            .at(Method::GET, get(rejections::show)),
        read("/api/v1/rejections/{id}/explain", "explainRejection", "RejectionExplanation", "Why it was refused: which known mistake fits its signature, and what to do")
            .at(Method::GET, get(rejections::explain)),
        read("/api/v1/events", "listEvents", "Events", "Accepted events, each with its fate, the newest first: by id, source, type, fate, time or a field of the payload")
            .words(&events::FILTER)
            .words(&["before"])
            .at(Method::GET, get(events::list)),
        read("/api/v1/events/{id}", "showEvent", "EventDetail", "Everything about one event, by its raw position: timeline, signed bytes, row")
            .at(Method::GET, get(events::show)),
        read("/api/v1/trace", "trace", "Trace", "What happened to an event id, entity key or traceparent")
            .words(&["q"])
            .at(Method::GET, get(dead_letters::trace)),
        read("/api/v1/audit/hours", "auditHours", "AuditHours", "The audit by partition and hour: records received, not examined yet, gaps and double fates")
            .words(&["hours"])
            .at(Method::GET, get(dead_letters::audit_hours)),
        read(
            "/api/v1/audit",
            "audit",
            "Audit",
            "The fate of every raw record; gaps and double fates. `within`: audit up to now first, for at most so many seconds",
        )
        .words(&["topic", "from", "to", "within"])
        .slow()
        .at(Method::GET, get(dead_letters::audit)),
    ]
}

/// What is taken and answered, field by field: a name, its type, and `?` when it may be null. `Name*` is a list of a schema's.
const SCHEMAS: [(&str, &str); 52] = [
    (
        "Letters",
        "letters Letter*, total integer?, last_settled_at time?",
    ),
    (
        "Letter",
        "id integer, state string, group integer, stage string, code string, source string, event_type string, event_id string?, \
         entity_key string?, detail string, consumer_group string, disposition string, attempts integer, replay_count integer, \
         first_failed_at time, last_failed_at time, origin string, edited boolean, job string?, resolution string?, reason string?, \
         unproven string?, genuine_by string?, genuine_reason string?",
    ),
    (
        "LetterDetail",
        "id integer, state string, group integer, stage string, code string, source string, event_type string, event_id string?, \
         entity_key string?, detail string, consumer_group string, disposition string, attempts integer, replay_count integer, \
         first_failed_at time, last_failed_at time, origin string, edited boolean, job string?, resolution string?, reason string?, \
         unproven string?, genuine_by string?, genuine_reason string?, family string, trace_id string?, dlq array, key string?, value object, value_sha256 string?, headers array, \
         service_version string?, failures Failure*, edits Edit*",
    ),
    (
        "Failure",
        "stage string, code string, detail string, replay_count integer, failed_at time, dlq array",
    ),
    (
        "Edit",
        "id integer, edited_by string, edited_at time, reason string, patch any",
    ),
    ("Groups", "groups Group*"),
    (
        "Group",
        "id integer, stage string, code string, source string, event_type string, open integer, replaying integer, resolved integer, \
         discarded integer, first_seen time?, last_seen time?, sample integer?",
    ),
    (
        "Stats",
        "open integer, replaying integer, resolved integer, discarded integer, by_code object, by_stage object, by_source object, \
         oldest_open time?, index_lag integer?, index_lag_age_seconds number?, index_bytes integer",
    ),
    (
        "Now",
        "at time, looked_at time?, attention Attention*, sources SourceNow*, roles RoleNow*, topics TopicNow*, fates FatesNow, \
         dead_letters DeadLettersNow, history_seconds number",
    ),
    (
        "Attention",
        "kind string, of string?, what string, next string",
    ),
    (
        "SourceNow",
        "name string, rate number?, accepted integer, refused array, answer_seconds Quantiles?, row_seconds Quantiles?, last_seen time?, \
         fails_in array, history array",
    ),
    ("Quantiles", "p50 number, p99 number"),
    (
        "RoleNow",
        "name string, kind string, reads array, writes array, on_path boolean, stores boolean, state string, reasons array, warnings array, \
         instances integer, rate number?, failed_rate number?, lag_seconds number?, breaker_open boolean, history array",
    ),
    ("TopicNow", "name string, rate number?"),
    (
        "FatesNow",
        "accepted integer, stored integer, duplicate integer, filtered integer, dead_lettered integer, in_flight integer, gaps integer, \
         double_fates integer, checkpoint_age_seconds number?",
    ),
    (
        "DeadLettersNow",
        "open integer, replaying integer, index_lag integer?",
    ),
    (
        "Explanation",
        "letter integer, code string, meaning string, detail string, pointer string?, value string?, rule string?, today string, \
         began_at time?, like_it integer, next array",
    ),
    ("Value", "text string"),
    ("Edited", "changed integer, unchanged integer"),
    (
        "EditPreview",
        "letter integer, before string, after string, changes boolean, refused object?",
    ),
    ("PatchPreview", "selected integer, previews EditPreview*"),
    ("Discarded", "discarded integer"),
    ("Genuine", "genuine integer"),
    (
        "Job",
        "id string, kind string, state string, selection Selection, reason string, created_by string, created_at time, policy string?, \
         approved_by string?, needs_confirmation boolean, needs_approval boolean, rate number, blocked string?, started_at time?, \
         finished_at time?, items integer, by_state object, by_code object, eta_seconds number?, no_role boolean",
    ),
    ("Jobs", "replays Job*"),
    ("Items", "items Item*"),
    (
        "Item",
        "letter integer?, raw string?, event_id string?, state string, code string?, detail string?, would string?, would_code string?, \
         would_detail string?",
    ),
    (
        "DryRun",
        "job string, kind string, would_store integer, would_be_duplicate integer, would_be_filtered integer, would_retype integer, would_be_unchanged integer, would_process integer, would_fail integer, would_fail_by_code object, \
         samples DryRunItem*",
    ),
    (
        "DryRunItem",
        "letter integer?, raw string?, event_id string?, would string, code string?, detail string?, row any, diff any",
    ),
    ("Log", "entries LogEntry*"),
    (
        "LogCheck",
        "entries integer, seq integer?, hash string?, broken object?",
    ),
    (
        "LogEntry",
        "seq integer, hash string, at time, who string, action string, job string?, letter integer?, reason string, counts any",
    ),
    (
        "Trace",
        "asked string, stories Timeline*, truncated boolean",
    ),
    (
        "Timeline",
        "event_id string?, source string?, entity_key string?, trace_id string?, fate string, steps Step*, signature string?, \
         verified_again string?",
    ),
    (
        "Step",
        "at time, what string, place string, detail string, delay_seconds number",
    ),
    ("Events", "events Event*, next string?, searched_to time?"),
    (
        "Event",
        "raw string, at time, settled_at time, fate string, source string, event_type string?, event_id string?, entity_key string?, \
         trace_id string?, letter integer?, why string?",
    ),
    (
        "EventDetail",
        "raw string, timeline Timeline, received Received?, row Row?, letters array",
    ),
    (
        "Received",
        "key string?, value object, headers array, curl string?",
    ),
    (
        "Row",
        "source string, event_id string, event_type string, contract string?, entity_key string?, occurred_at time, received_at time?, \
         stored_at time, amount string?, currency string?, schema_id integer, secret_id string?, trace_id string?, edited_by string?, \
         payload string",
    ),
    ("Rejections", "rejections Rejection*"),
    (
        "Rejection",
        "id integer, at time, source string, code string, status integer, detail string, scheme string?, peer string, user_agent string?, \
         skew_seconds integer?, body_bytes integer?, body_sha256 string?, trace_id string?, left_out integer, captured boolean",
    ),
    (
        "RejectionDetail",
        "id integer, at time, source string, code string, status integer, detail string, scheme string?, peer string, user_agent string?, \
         skew_seconds integer?, body_bytes integer?, body_sha256 string?, trace_id string?, left_out integer, captured boolean, \
         parts SignaturePart*, captured_until time?, method string?, query string?, headers array, body string?, body_base64 string?",
    ),
    ("SignaturePart", "header string, times integer"),
    ("RejectionGroups", "groups RejectionGroup*"),
    (
        "RejectionGroup",
        "source string, code string, kept integer, refused integer, peers integer, first_seen time, last_seen time, sample integer",
    ),
    (
        "RejectionExplanation",
        "rejection integer, source string, code string, detail string, mistake string?, meaning string?, shown_by string?, certain boolean, \
         tried array, limits array, next array",
    ),
    (
        "Audit",
        "topic string, at time, partitions array, records integer, stored integer, duplicate integer, filtered integer, dead_lettered object, \
         in_flight integer, unseen integer, absent integer, gaps integer, double_fates integer, findings Finding*, checkpoint_age_seconds number?",
    ),
    (
        "AuditHours",
        "topic string, hours array, partitions AuditPartition*",
    ),
    ("AuditPartition", "partition integer, cells AuditCell*"),
    (
        "AuditCell",
        "from integer, to integer, unexamined integer, gaps integer, double_fates integer",
    ),
    (
        "Finding",
        "partition integer, offset integer, kind string, detail string",
    ),
];

/// The schemas by name.
pub(super) fn schemas() -> Value {
    let mut all = json!({
        "Selection": {"type": "object", "additionalProperties": false, "description": "All conditions must hold; values of one are alternatives",
            "properties": {
                "id": {"type": "array", "items": {"type": "integer"}}, "group": {"type": "array", "items": {"type": "integer"}},
                "state": {"type": "array", "items": {"enum": ["open", "replaying", "resolved", "discarded"]}},
                "code": strings(), "stage": strings(), "source": strings(), "event_type": strings(),
                "event_id": {"type": "string"}, "entity_key": {"type": "string"},
                "since": {"type": "string", "format": "date-time"}, "until": {"type": "string", "format": "date-time"},
                "contains": {"type": "string"}, "limit": {"type": "integer", "minimum": 0}}},
        "NewValue": request(&["text"], &json!({"text": {"type": "string"}, "reason": {"type": "string"}})),
        "Patch": request(&["selection", "patch"], &json!({"selection": reference("Selection"), "reason": {"type": "string"},
            "patch": {"type": "array", "description": "RFC 6902"},
            "yes": {"type": "boolean", "description": "However many are selected, and although one id is written into several"}})),
        "Discard": request(&["selection", "reason"], &json!({"selection": reference("Selection"), "reason": {"type": "string"}, "yes": {"type": "boolean"}})),
        "Vouch": request(&["selection", "reason"], &json!({"selection": reference("Selection"), "reason": {"type": "string"}, "yes": {"type": "boolean"}})),
        "Plan": request(&["selection"], &json!({"selection": reference("Selection"), "reason": {"type": "string"}})),
        "Apply": request(&[], &json!({"rate": {"type": ["number", "null"], "description": "Records a second"}, "yes": {"type": "boolean"}})),
        "Lines": {"type": "string", "description": "One dead letter per line, JSON"},
        "Problem": {"type": "object", "required": ["type", "title", "status", "code", "detail"], "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable"}, "detail": {"type": "string", "description": "What to do"},
            "rejection": {"type": "object", "description": "Of still_broken: the rule that is broken, and where"}}},
    });
    for (name, fields) in SCHEMAS {
        let fields = fields
            .split(',')
            .filter_map(|field| field.trim().split_once(' '));
        let properties: serde_json::Map<_, _> = fields
            .map(|(name, kind)| (name.to_owned(), property(kind)))
            .collect();
        let required: Vec<_> = properties.keys().cloned().collect();
        all[name] = json!({"type": "object", "required": required, "properties": properties});
    }
    all
}

fn strings() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

pub(super) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn request(required: &[&str], properties: &Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn property(kind: &str) -> Value {
    if kind == "any" {
        return json!({});
    }
    if let Some(of) = kind.strip_suffix('*') {
        return json!({"type": "array", "items": reference(of)});
    }
    let (kind, nullable) = kind
        .strip_suffix('?')
        .map_or((kind, false), |kind| (kind, true));
    let (kind, format) = if kind == "time" {
        ("string", Some("date-time"))
    } else {
        (kind, None)
    };
    if kind.starts_with(char::is_uppercase) {
        return match nullable {
            true => json!({"anyOf": [reference(kind), {"type": "null"}]}),
            false => reference(kind),
        };
    }
    let mut property = if nullable {
        json!({"type": [kind, "null"]})
    } else {
        json!({"type": kind})
    };
    if let Some(format) = format {
        property["format"] = format.into();
    }
    property
}
