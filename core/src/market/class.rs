//! Who owns the GPUs, how far data may travel, and how work is kept apart from its host.

/// The kind of owner. Said by the hub's admin, never by the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderClass {
    /// The company's own cluster.
    Private,
    /// A hyperscaler or rented cluster with a contract.
    Cloud,
    /// An independent owner.
    Decentralized,
}

impl ProviderClass {
    /// From the company's own to a stranger's: the order in which overflow spills.
    pub const OWN_FIRST: [Self; 3] = [Self::Private, Self::Cloud, Self::Decentralized];
}

/// How far a job's data may travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataClass {
    #[default]
    Public,
    Internal,
    Restricted,
}

/// How work is kept apart from its host and from other work; each tier meets the needs of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// Containers.
    #[default]
    Standard,
    /// A kernel of its own, or a user-space one.
    Sandboxed,
    /// Memory that the host cannot read.
    Confidential,
}

impl DataClass {
    /// Restricted stays on Private, Internal on Private and Cloud, Public goes anywhere.
    pub const fn allows(self, class: ProviderClass) -> bool {
        match self {
            Self::Public => true,
            Self::Internal => matches!(class, ProviderClass::Private | ProviderClass::Cloud),
            Self::Restricted => matches!(class, ProviderClass::Private),
        }
    }
}
