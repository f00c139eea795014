//! How deep a JSON text is nested: asked before it is parsed, since the parser skips what nobody reads without a limit.

/// A pod is nested some ten levels deep.
pub const MOST_LEVELS: usize = 64;

/// Whether objects and lists lie at most `most` levels deep. Says nothing about whether the text is JSON.
pub fn is_within(json: &[u8], most: usize) -> bool {
    let mut levels = 0_usize;
    let mut rest = json;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(rest),
            b'{' | b'[' => {
                levels += 1;
                if levels > most {
                    return false;
                }
            }
            b'}' | b']' => levels = levels.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// What follows the end of a string that began before `text`.
fn after_string(mut text: &[u8]) -> &[u8] {
    while let Some(place) = memchr::memchr2(b'"', b'\\', text) {
        let is_escape = text.get(place) == Some(&b'\\');
        // An escaped byte may be a quote.
        text = text.get(place + 1 + usize::from(is_escape)..).unwrap_or_default();
        if !is_escape {
            return text;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn levels_are_counted_and_strings_are_not_looked_into() {
        for (text, levels) in [
            ("", 0),
            ("17", 0),
            ("{}", 1),
            ("[[1], {\"a\": []}]", 3),
            ("[\"[[[[\"]", 1),
            (r#"["\"[[[", "\\", "[\\\"["]"#, 1),
            ("]]]][[", 2),
            ("\"[[[", 0),
            ("\"\\", 0),
        ] {
            assert!(is_within(text.as_bytes(), levels), "{text}");
            assert!(levels == 0 || !is_within(text.as_bytes(), levels - 1), "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            r#"[\[\]{}"\\]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(".{0,4}", inner, 0..4).prop_map(|values| json!(values)),
            ]
        })
    }

    fn levels_of(value: &Value) -> usize {
        match value {
            Value::Array(values) => 1 + values.iter().map(levels_of).max().unwrap_or(0),
            Value::Object(values) => 1 + values.values().map(levels_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_parser(value in any_json()) {
            let (text, levels) = (value.to_string(), levels_of(&value));
            prop_assert!(is_within(text.as_bytes(), levels));
            prop_assert!(levels == 0 || !is_within(text.as_bytes(), levels - 1));
        }

        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64), most in 0..8_usize) {
            let opened = bytes.iter().filter(|byte| b"{[".contains(byte)).count();
            prop_assert!(is_within(&bytes, most) || opened > most);
        }
    }
}
