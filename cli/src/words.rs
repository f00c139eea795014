//! Amounts as people read them.

use std::time::Duration;

use spillway_core::memory::Bytes;
use spillway_core::money::MicroUsd;

/// At least two decimals, no needless zeros: `0.90`, `0.000125`.
pub(crate) fn usd(amount: MicroUsd) -> String {
    let full = amount.to_string();
    let (whole, fraction) = full.split_once('.').unwrap_or((&full, ""));
    format!("{whole}.{:0<2}", fraction.trim_end_matches('0'))
}

/// In Gi where that is exact to a tenth, else as the exact quantity.
pub(crate) fn memory(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 30);
    match (tenths / 10, tenths % 10) {
        (0, _) => Bytes(bytes).to_string(),
        (whole, 0) => format!("{whole}Gi"),
        (whole, tenth) => format!("{whole}.{tenth}Gi"),
    }
}

/// `80 ms`, or `4.2 ms` below 10 ms.
pub(crate) fn milliseconds(micros: u64) -> String {
    let tenths = micros % 1_000 / 100;
    match micros / 1_000 {
        whole if whole < 10 && tenths > 0 => format!("{whole}.{tenths} ms"),
        whole => format!("{whole} ms"),
    }
}

/// A share in [0, 1] with two decimals.
pub(crate) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.2}"))
}

/// As a manifest writes it, in whole seconds, rounded up: `1h30m`, `45s`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    let parts = [(seconds / 3600, "h"), (seconds % 3600 / 60, "m"), (seconds % 60, "s")];
    let text: String = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(
            [1_200_000, 125, 0].map(|micro| usd(MicroUsd(micro))),
            ["1.20", "0.000125", "0.00"]
        );
        assert_eq!(
            [24 << 30, 23_034 << 20, 512 << 20].map(memory),
            ["24Gi", "22.4Gi", "512Mi"]
        );
        assert_eq!([9_000, 4_200, 80_999].map(milliseconds), ["9 ms", "4.2 ms", "80 ms"]);
        assert_eq!([Some(0.756), None].map(share), ["0.76", "unknown"]);
        let seconds = [0, 45, 5_400, 3_601].map(Duration::from_secs);
        assert_eq!(seconds.map(span), ["0s", "45s", "1h30m", "1h1s"]);
        assert_eq!(span(Duration::from_millis(1)), "1s");
    }
}
