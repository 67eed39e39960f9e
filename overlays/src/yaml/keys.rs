//! The order of keys in what go-yaml v2 prints: numbers inside keys by value, letters after everything else.
//!
//! The comparison is not transitive (`a2` < `a12` < `a1b` < `a2`), so the standard sort, which may panic on such, is no choice.

use std::cmp::Ordering;

/// Sorts by key: a merge sort, stable, that gives some order whatever the comparison says.
pub(super) fn sort<K: AsRef<str>, V>(items: &mut Vec<(K, V)>) {
    if items.len() < 2 || items.windows(2).all(|pair| !less(pair[1].0.as_ref(), pair[0].0.as_ref())) {
        return;
    }
    let mut right = items.split_off(items.len() / 2);
    sort(items);
    sort(&mut right);
    let mut merged = Vec::with_capacity(items.len() + right.len());
    let (mut lefts, mut rights) = (std::mem::take(items).into_iter().peekable(), right.into_iter().peekable());
    while let (Some(left), Some(right)) = (lefts.peek(), rights.peek()) {
        merged.extend(if less(right.0.as_ref(), left.0.as_ref()) { rights.next() } else { lefts.next() });
    }
    merged.extend(lefts);
    merged.extend(rights);
    *items = merged;
}

/// Whether one key comes before another.
pub(super) fn less(a: &str, b: &str) -> bool {
    if let (Some(x), Some(y)) = (a.bytes().next(), b.bytes().next())
        && x != y
        && x.is_ascii_alphabetic()
        && y.is_ascii_alphabetic()
    {
        return x < y;
    }
    let (mut left, mut right) = (a.chars(), b.chars());
    // Whether the digits just before the first difference hold one that is not 0.
    let mut in_number = false;
    loop {
        let (rest_left, rest_right) = (left.as_str(), right.as_str());
        match (left.next(), right.next()) {
            (Some(x), Some(y)) if x == y => in_number = x.is_ascii_digit() && (in_number || x != '0'),
            (Some(x), Some(y)) => return differ((x, rest_left), (y, rest_right), in_number) == Ordering::Less,
            (left, _) => return left.is_none() && !rest_right.is_empty(),
        }
    }
}

/// Compares at the first characters that differ, each given with the text from it on.
fn differ((x, left): (char, &str), (y, right): (char, &str), in_number: bool) -> Ordering {
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero inside a number is no leading zero: then the number of digits counts.
    let start = i64::from(in_number && (x == '0' || y == '0'));
    let ((a, a_length), (b, b_length)) = (value(left, start), value(right, start));
    a.cmp(&b).then(a_length.cmp(&b_length)).then(x.cmp(&y))
}

/// The number that a text begins with, and the count of its digits. Too large ones wrap around, as in Go.
fn value(text: &str, start: i64) -> (i64, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold((start, 0), |(value, length), digit| (value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')), length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_comes_before_another() {
        for (a, b) in [
            ("a2", "a10"),
            ("a2", "a02"),
            ("a", "a1"),
            ("a1", "ab"),
            ("A", "a"),
            ("-", "1"),
            ("a-b", "aab"),
            ("a100", "a101"),
            ("1", "a"),
            ("", "a"),
        ] {
            assert!(less(a, b) && !less(b, a), "{a} {b}");
        }
        assert!(!less("a", "a"));
    }

    #[test]
    fn keys_that_run_in_a_circle_are_sorted_somehow() {
        assert!(less("a2", "a12") && less("a12", "a1b") && less("a1b", "a2"));
        let mut keys: Vec<(String, ())> =
            (0..1000).flat_map(|i| [format!("a{i}"), format!("a{i}b"), format!("a{i}-")]).map(|key| (key, ())).collect();
        let mut before: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        sort(&mut keys);
        let mut after: Vec<String> = keys.into_iter().map(|key| key.0).collect();
        before.sort();
        after.sort();
        assert_eq!(before, after);
    }
}
