//! `kubectl spillway offers`: the live market, cheapest first.

mod view;

use anyhow::ensure;
use clap::ValueEnum;
use spillway_core::knowledge::Knowledge;
use spillway_core::memory::Bytes;
use spillway_core::money::UnitPrice;
use spillway_crds::ProviderClass;

use crate::Code;
use crate::class::Class;
use crate::connect::Hub;
use crate::market::{CAPACITY_ROLE, Market};
use view::{OfferList, OfferView};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Only these GPU products, whole and in any case; NVIDIA- may be left out. May be repeated.
    #[arg(long = "model", value_name = "PRODUCT")]
    models: Vec<String>,
    /// Only these regions. May be repeated.
    #[arg(long = "region", value_name = "WORD")]
    regions: Vec<String>,
    /// Only these classes. May be repeated.
    #[arg(long = "class", value_enum, ignore_case = true)]
    classes: Vec<Class>,
    /// Only offers at this price or below, in USD per GPU and hour, such as 1.20.
    #[arg(long, value_name = "USD")]
    max_price: Option<UnitPrice>,
    /// Only GPUs with this much memory, such as 24Gi.
    #[arg(long, value_name = "QUANTITY")]
    min_memory: Option<Bytes>,
    /// Only offers that take work now: Ready, and at least one GPU is free.
    #[arg(long)]
    free: bool,
    #[arg(short, long, value_enum, default_value = "table")]
    output: OfferOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OfferOutput {
    Table,
    /// The table with node, jurisdiction, compute capability and start time.
    Wide,
    Json,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<Code> {
    let market = Market::read(&hub.connect().await?.client).await?;
    let known = matches!(market.holdings, Knowledge::Known(_));
    ensure!(
        known || !arguments.free,
        "--free: free GPUs are not known to you, for you may not list WorkAssignments (ClusterRole {CAPACITY_ROLE} allows it)"
    );
    let all = view::views(&market);
    let list = OfferList {
        total: all.len(),
        offers: all.into_iter().filter(|offer| arguments.selects(offer)).collect(),
    };
    match arguments.output {
        OfferOutput::Json => println!("{}", serde_json::to_string_pretty(&list)?),
        OfferOutput::Table => print!("{}", list.table(false)),
        OfferOutput::Wide => print!("{}", list.table(true)),
    }
    if arguments.output != OfferOutput::Json {
        eprintln!("{} of {} offers", list.offers.len(), list.total);
        if !known {
            eprintln!("free GPUs are not known to you (ClusterRole {CAPACITY_ROLE} allows it)");
        }
    }
    Ok(Code::Success)
}

impl Arguments {
    fn selects(&self, offer: &OfferView) -> bool {
        let class = |wanted: &Class| ProviderClass::from(*wanted) == offer.class;
        let takes_work = offer.ready && offer.gpus.free.is_some_and(|free| free > 0);
        any(&self.models, |wanted| is_model(wanted, &offer.product))
            && any(&self.regions, |wanted| *wanted == offer.region)
            && any(&self.classes, class)
            && self.max_price.is_none_or(|most| offer.unit_price_micro <= most.0)
            && self.min_memory.is_none_or(|least| offer.memory_bytes >= least.0)
            && (!self.free || takes_work)
    }
}

fn any<T>(wanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(matches)
}

/// `l4` is NVIDIA-L4 and not NVIDIA-L40.
fn is_model(wanted: &str, product: &str) -> bool {
    let (wanted, product) = (wanted.to_ascii_lowercase(), product.to_ascii_lowercase());
    wanted == product || product.strip_prefix("nvidia-") == Some(&wanted)
}

#[cfg(test)]
mod tests;
