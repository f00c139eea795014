//! What the API server did for a run: requests of each kind, and the time it took over them.

use std::collections::BTreeMap;

use kube::Client;

/// Count and seconds by verb and resource, as the API server's own metrics have them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(BTreeMap<String, (f64, f64)>);

impl Requests {
    pub(crate) async fn so_far(client: &Client) -> anyhow::Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        Ok(Self::parse(&client.request_text(request).await?))
    }

    fn parse(metrics: &str) -> Self {
        let mut requests = BTreeMap::<String, (f64, f64)>::new();
        for line in metrics.lines() {
            let count = line.strip_prefix("apiserver_request_duration_seconds_count");
            let sum = line.strip_prefix("apiserver_request_duration_seconds_sum");
            let Some((labels, value)) = count.or(sum).and_then(|line| line.rsplit_once(' ')) else {
                continue;
            };
            let label = |name: &str| labels.split_once(&format!("{name}=\""))?.1.split('"').next();
            let (Some(verb), Some(resource), Ok(value)) = (label("verb"), label("resource"), value.parse::<f64>())
            else {
                continue;
            };
            let part = label("subresource").filter(|part| !part.is_empty());
            let kind = format!(
                "{verb} {resource}{}",
                part.map(|part| format!("/{part}")).unwrap_or_default()
            );
            let entry = requests.entry(kind).or_default();
            if count.is_some() {
                entry.0 += value
            } else {
                entry.1 += value
            }
        }
        Self(requests)
    }

    /// The dearest kinds since `before`, watches left out: requests per pod, and milliseconds each.
    pub(crate) fn since(&self, before: &Self, pods: usize) -> Vec<String> {
        let rows = self.0.iter().filter(|(kind, _)| !kind.starts_with("WATCH"));
        let mut rows: Vec<(f64, String)> = rows
            .map(|(kind, (count, seconds))| {
                let (count_before, seconds_before) = before.0.get(kind).copied().unwrap_or_default();
                let (count, seconds) = (count - count_before, seconds - seconds_before);
                let each = seconds * 1000.0 / count.max(1.0);
                (seconds, format!("{kind} {:.2} × {each:.1} ms", count / pods as f64))
            })
            .collect();
        rows.sort_by(|one, other| other.0.total_cmp(&one.0));
        rows.into_iter().take(8).map(|(_, row)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_kinds_come_first() {
        let line = |what: &str, verb: &str, part: &str, value: f64| {
            format!(
                "apiserver_request_duration_seconds_{what}{{group=\"\",resource=\"pods\",subresource=\"{part}\",verb=\"{verb}\"}} {value}\n"
            )
        };
        let text = [
            line("sum", "POST", "", 2.0),
            line("count", "POST", "", 20.0),
            line("sum", "POST", "binding", 8.0),
            line("count", "POST", "binding", 10.0),
            line("sum", "WATCH", "", 900.0),
            line("count", "WATCH", "", 1.0),
            "apiserver_request_duration_seconds_bucket{le=\"1\",verb=\"GET\",resource=\"pods\"} 7\n".to_owned(),
        ];
        let now = Requests::parse(&text.concat());
        assert_eq!(
            now.since(&Requests::default(), 10),
            ["POST pods/binding 1.00 × 800.0 ms", "POST pods 2.00 × 100.0 ms"]
        );
        assert_eq!(now.since(&now, 10)[0], "POST pods 0.00 × 0.0 ms");
    }
}
