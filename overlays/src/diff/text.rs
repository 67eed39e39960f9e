//! Prints differences: the object, and below it each field with what it was, what it is, and where that is written.
//!
//! It must not know how they were found.

use std::fmt::Write as _;

use super::shown::text;
use super::{Changed, Difference, What};
use crate::look::{Look, Paint};
use crate::object::Origin;

/// How many fields are listed for one object.
const LISTED: usize = 200;

/// All differences, and how many there are; nothing if there are none.
pub(super) fn differences(list: &[Difference], look: &Look<'_>) -> String {
    let mut out = String::new();
    for difference in list {
        let (sign, paint) = match difference.what {
            What::Added => ("+", Paint::Added),
            What::Removed => ("-", Paint::Removed),
            What::Changed => ("~", Paint::Changed),
        };
        let place = difference.place.as_ref().map(|place| format!("  {}", look.place(place))).unwrap_or_default();
        _ = writeln!(out, "{} {}{place}", look.paint(paint, sign), look.paint(Paint::Title, &name(difference)));
        for change in difference.changes.iter().take(LISTED) {
            _ = writeln!(out, "      {}: {}{}", change.field, values(change, look), places(change, look));
        }
        if difference.changes.len() > LISTED {
            _ = writeln!(out, "      and {} more", difference.changes.len() - LISTED);
        }
    }
    if !list.is_empty() {
        let count = |what: What| list.iter().filter(|difference| difference.what == what).count();
        let (changed, added, removed) = (count(What::Changed), count(What::Added), count(What::Removed));
        _ = writeln!(out, "\n{changed} changed, {added} added, {removed} removed");
    }
    out
}

fn name(difference: &Difference) -> String {
    match &difference.before {
        Some(before) => format!("{before} -> {}", difference.object.name),
        None => difference.object.to_string(),
    }
}

/// Where the new value is written, and the old one if that is another file.
fn places(change: &Changed, look: &Look<'_>) -> String {
    let is_known = |place: &&Origin| place.line > 0;
    match (change.place_before.as_ref().filter(is_known), change.place.as_ref().filter(is_known)) {
        (Some(before), Some(after)) if before.file != after.file => format!("  {} -> {}", look.place(before), look.place(after)),
        (_, Some(place)) | (Some(place), None) => format!("  {}", look.place(place)),
        (None, None) => String::new(),
    }
}

/// `2 -> 3`, `+ 3`, `- 2`.
pub(crate) fn values(change: &Changed, look: &Look<'_>) -> String {
    match (&change.before, &change.after) {
        (Some(_), Some(after)) if change.is_order => look.paint(Paint::Changed, &format!("other order: {}", names(after))),
        (Some(before), Some(after)) => {
            format!("{} -> {}", look.paint(Paint::Removed, &text(before)), look.paint(Paint::Added, &text(after)))
        }
        (None, Some(after)) => look.paint(Paint::Added, &format!("+ {}", text(after))),
        (Some(before), None) => look.paint(Paint::Removed, &format!("- {}", text(before))),
        (None, None) => String::new(),
    }
}

/// The names of the items of a list.
fn names(list: &serde_json::Value) -> String {
    let name = |item: &serde_json::Value| text(item.get("name").unwrap_or(item));
    list.as_array().map(|items| items.iter().map(name).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}
