//! Provider classes as arguments.

use clap::ValueEnum;
use spillway_crds::ProviderClass;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Class {
    Private,
    Cloud,
    Decentralized,
}

impl From<Class> for ProviderClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Private => Self::Private,
            Class::Cloud => Self::Cloud,
            Class::Decentralized => Self::Decentralized,
        }
    }
}
