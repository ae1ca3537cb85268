//! Which of two forms a client wants, by its `Accept` header.

/// The forms an answer comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For programs.
    Json,
    /// For people and shell scripts.
    Text,
    /// For browsers.
    Html,
}

/// The first of `offered` with the highest weight (RFC 9110, 12.5.1). Without a header, or if nothing fits, the first one
/// offered: an answer in the wrong form helps more than none.
pub(crate) fn choose(accept: Option<&str>, offered: &[Form]) -> Option<Form> {
    let first = offered.first().copied();
    let Some(accept) = accept else { return first };
    let mut best: Option<(u16, Form)> = None;
    for form in offered {
        let weight = weight(accept, *form);
        if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, *form));
        }
    }
    best.map(|(_, form)| form).or(first)
}

/// The weight in thousandths that the most specific range of the header gives to a form.
fn weight(accept: &str, form: Form) -> u16 {
    let (main, sub) = match form {
        Form::Json => ("application", "json"),
        Form::Text => ("text", "plain"),
        Form::Html => ("text", "html"),
    };
    let mut found = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let Some((range_main, range_sub)) = parts.next().and_then(|range| range.split_once('/')) else { continue };
        let precision = match (range_main.eq_ignore_ascii_case(main), range_sub.eq_ignore_ascii_case(sub)) {
            (true, true) => 3,
            (true, false) if range_sub == "*" => 2,
            (false, _) if range_main == "*" && range_sub == "*" => 1,
            _ => continue,
        };
        let quality = parts
            .find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
            .map_or(1.0, |text| text.trim().parse::<f32>().unwrap_or(0.0))
            .clamp(0.0, 1.0);
        // The clamp makes NaN the only value that the cast has to mend, and it becomes 0.
        let quality = (quality * 1000.0) as u16;
        if precision > found.0 {
            found = (precision, quality);
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use super::Form::{Html, Json, Text};
    use super::*;

    #[test]
    fn chooses_by_weight_then_by_order() {
        let both = [Json, Text];
        for (accept, expected) in [
            (None, Json),
            (Some("*/*"), Json),
            (Some("text/plain"), Text),
            (Some("application/json"), Json),
            (Some("TEXT/PLAIN;q=0.5, application/json;q=0.4"), Text),
            (Some("text/*, application/json;q=0.9"), Text),
            (Some("text/plain;q=0, */*"), Json),
            (Some("image/png"), Json),
            (Some(";;,,/;q=x"), Json),
            (Some("text/plain;q=nan"), Json),
        ] {
            assert_eq!(choose(accept, &both), Some(expected), "{accept:?}");
        }
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(choose(Some(browser), &[Text, Html]), Some(Html));
        assert_eq!(choose(None, &[]), None);
    }
}
