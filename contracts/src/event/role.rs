//! What a field means, beyond its type: the values of `x-eventflow`. Nothing else in the program knows a business.

/// The role of a field, in `schema.json` and in the record that consumers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Names something: not blank, at most 256 characters
    Id,
    /// Money, exact, in the currency beside it or around it; the first of an event is the row's `amount`
    Amount,
    /// ISO 4217; the first of an event is the row's `currency`, in capital letters
    Currency,
    /// What the event is about
    Entity,
    /// What kind of event it is, where the event type alone does not say; figures are kept by it
    Kind,
    /// Says something of the delivery and not of the event, so it is no content
    Delivery,
}

impl Role {
    /// The keyword in `schema.json`, and the attribute of a record's field.
    pub const ATTRIBUTE: &'static str = "x-eventflow";

    /// All roles.
    pub const ALL: [Self; 6] = [
        Self::Id,
        Self::Amount,
        Self::Currency,
        Self::Entity,
        Self::Kind,
        Self::Delivery,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Entity => "entity",
            Self::Kind => "kind",
            Self::Delivery => "delivery",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}
