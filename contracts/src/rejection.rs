//! A rejection: the record's own fault for which it is dead-lettered.

/// Longest detail, in bytes.
const DETAIL_BYTES: usize = 300;

/// Why one record is dead-lettered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.code())]
pub struct Rejection {
    /// What rule
    pub code: RejectionCode,
    /// Where in the JSON, as a pointer
    pub pointer: Option<String>,
    /// For people: bounded, without control characters, never the whole body
    pub detail: String,
}

impl Rejection {
    /// Bounds and cleans the detail.
    #[must_use]
    pub fn new(code: RejectionCode, pointer: Option<String>, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        let mut clean = String::with_capacity(detail.len().min(DETAIL_BYTES));
        for character in detail.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if clean.len() + character.len_utf8() > DETAIL_BYTES {
                break;
            }
            clean.push(character);
        }
        Self {
            code,
            pointer,
            detail: clean,
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $code:literal, $disposition:literal, $meaning:literal;)*) => {
        /// Every rule a record can break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RejectionCode {
            $(#[doc = $meaning] $variant,)*
        }

        impl RejectionCode {
            /// All codes, in the order of this file.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What kind of fault: `poison` (cannot be read), `contract` (breaks a rule), `conflict`, `refused` (by the database), `exhausted`,
            /// `unproven` (nobody knows yet that the vendor sent it now).
            #[must_use]
            pub fn disposition(self) -> &'static str {
                match self { $(Self::$variant => $disposition,)* }
            }

            /// Whether it says that nobody knows yet who sent the record, and nothing of what is in it.
            #[must_use]
            pub fn is_unproven(self) -> bool {
                self.disposition() == "unproven"
            }

            /// One line for people.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    EmptyBody = "empty_body", "poison", "The record has no value";
    NotUtf8 = "not_utf8", "poison", "The body is not UTF-8";
    NotJson = "not_json", "poison", "The body is not JSON";
    MalformedForm = "malformed_form", "poison", "The body is not the form that its source sends, or lacks the field with the event";
    MalformedGzip = "malformed_gzip", "poison", "The compressed body cannot be unpacked within its source's limit";
    NoItems = "no_items", "poison", "The body has no array of events where its source says";
    NotAnObject = "not_an_object", "poison", "The body is JSON, but not an object";
    TooDeep = "too_deep", "poison", "The JSON is nested more than 128 levels deep";
    DuplicateField = "duplicate_field", "contract", "A field appears more than once";
    MissingField = "missing_field", "contract", "A required field is missing";
    WrongType = "wrong_type", "contract", "A field has the wrong JSON type";
    BlankField = "blank_field", "contract", "An id is empty or only white space";
    NulCharacter = "nul_character", "contract", "A text contains U+0000, which cannot be stored";
    UnpairedSurrogate = "unpaired_surrogate", "contract", "A string escapes half a character, so it is no text";
    TooLong = "too_long", "contract", "A field is longer than its contract allows";
    TooShort = "too_short", "contract", "A field is shorter than its contract allows";
    UnknownSource = "unknown_source", "contract", "The stage that validates does not know the source, so it cannot read its events";
    NoEventType = "no_event_type", "contract", "Nothing is where the source's mapping says that the event type is";
    NoEventId = "no_event_id", "contract", "Nothing is where the source's mapping says that the event id is";
    NoEventTime = "no_event_time", "contract", "Nothing is where the source's mapping says that the time is";
    UnknownEventType = "unknown_event_type", "contract", "There is no contract for this event type";
    UnsupportedSchemaVersion = "unsupported_schema_version", "contract", "The event names another version than its contract has";
    InvalidTimestamp = "invalid_timestamp", "contract", "A time is not RFC 3339";
    TimestampWithoutZone = "timestamp_without_zone", "contract", "A time has no zone";
    TimeOutOfRange = "time_out_of_range", "contract", "A time is, in UTC, before the year 1 or after the year 9999";
    InvalidAmount = "invalid_amount", "contract", "The amount is not a decimal number";
    AmountNotPositive = "amount_not_positive", "contract", "The amount is zero or less";
    AmountTooPrecise = "amount_too_precise", "contract", "The amount has more fraction digits than its currency";
    AmountOutOfRange = "amount_out_of_range", "contract", "The amount has more digits than can be stored";
    UnknownCurrency = "unknown_currency", "contract", "The currency is not an uppercase ISO 4217 code";
    ValueNotAllowed = "value_not_allowed", "contract", "The value is not one of those allowed";
    IntegerOutOfRange = "integer_out_of_range", "contract", "An integer has more bits than its contract's record";
    NumberOutOfRange = "number_out_of_range", "contract", "A number has more digits, or a larger exponent, than can be kept or judged";
    NumberTooSmall = "number_too_small", "contract", "A number is below its contract's minimum";
    NumberTooLarge = "number_too_large", "contract", "A number is above its contract's maximum";
    NotAMultiple = "not_a_multiple", "contract", "A number is no multiple of what its contract says";
    InvalidFormat = "invalid_format", "contract", "A text is not of the format that its contract names";
    UnknownField = "unknown_field", "contract", "A field is not in the contract, which allows no others";
    SchemaViolation = "schema_violation", "contract", "A keyword of the contract that only jsonschema judges is not satisfied";
    BadFrame = "bad_frame", "poison", "The value is not in Confluent's wire format";
    UnknownSchemaId = "unknown_schema_id", "poison", "The schema id is none that a registry gives";
    BadDatum = "bad_datum", "poison", "The Avro does not fit its schema";
    NoRawRecord = "no_raw_record", "poison", "Its ef.raw header is missing or names no raw record";
    Conflict = "conflict", "conflict", "The event id is stored with other content";
    RowRefused = "row_refused", "refused", "PostgreSQL refuses the row for its content";
    Stale = "stale", "unproven", "Its signature matches, and it came outside its time window";
    Unverified = "unverified", "unproven", "Its source is in onboarding, and its signature was not verified";
    ReplaysExhausted = "replays_exhausted", "exhausted", "It was replayed as often as allowed";
}
