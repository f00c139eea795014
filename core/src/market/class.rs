//! Who owns the GPUs, and how far data may travel.

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

/// How far a job's data may travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataClass {
    #[default]
    Public,
    Internal,
    Restricted,
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
