//! Kubernetes quantities of processor and memory, rounded down: pure.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use spillway_core::memory::Bytes;

/// `4`, `3920m` or `3.92` processors in thousandths.
pub(super) fn millis(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.as_str();
    if let Some(millis) = text.strip_suffix('m') {
        return millis.parse().ok();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}

pub(super) fn mebibytes(quantity: &Quantity) -> Option<u64> {
    quantity.0.parse::<Bytes>().ok().map(|bytes| bytes.0 >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubelets_write() {
        let quantity = |text: &str| Quantity(text.to_owned());
        assert_eq!(millis(&quantity("4")), Some(4000));
        assert_eq!(millis(&quantity("3920m")), Some(3920));
        assert_eq!(millis(&quantity("0.5")), Some(500));
        assert_eq!(millis(&quantity("2.")), Some(2000));
        assert_eq!(millis(&quantity("much")), None);
        assert_eq!(mebibytes(&quantity("16393588Ki")), Some(16009));
        assert_eq!(mebibytes(&quantity("1e9")), None);
    }
}
