//! Prints an explanation: one line for each step that changed the field, or a list of fields under each step.
//!
//! It must not know how the chain was found.

use std::fmt::Write as _;

use super::{Explanation, Link};
use crate::diff::Changed;
use crate::diff::shown::text;
use crate::diff::text::values;
use crate::look::{Look, Paint};

/// How many fields are listed under one step.
const LISTED: usize = 60;

pub(super) fn explanation(explanation: &Explanation, look: &Look<'_>) -> String {
    let mut out = title(explanation, look);
    let is_object = explanation.field.0.is_empty();
    let is_single = |link: &Link| !is_object && matches!(link.changes.as_slice(), [change] if change.field == explanation.field);
    let width = explanation.links.iter().map(|link| link.step.chars().count()).max().unwrap_or(0);
    for (at, link) in explanation.links.iter().enumerate() {
        let is_last = at + 1 == explanation.links.len();
        let sign = if is_last && !is_object { look.paint(Paint::Title, ">") } else { " ".to_owned() };
        let step = format!("{:width$}", link.step);
        if is_single(link) {
            let values = link.changes.first().map(|change| values(change, look)).unwrap_or_default();
            _ = writeln!(out, "{sign} {step}  {values}  {}", single_place(link, look));
            continue;
        }
        _ = writeln!(out, "{sign} {step}  {}", link_place(link, look));
        let is_made = is_object && link.changes.iter().all(|change| change.field.0.is_empty());
        link.changes.iter().filter(|_| !is_made).take(LISTED).for_each(|change| out.push_str(&listed(link, change, look)));
        if link.changes.len() > LISTED {
            _ = writeln!(out, "      and {} more", link.changes.len() - LISTED);
        }
    }
    out
}

fn title(explanation: &Explanation, look: &Look<'_>) -> String {
    let Explanation { object, field, value, .. } = explanation;
    if field.0.is_empty() {
        return format!("{}\n", look.paint(Paint::Title, &object.to_string()));
    }
    let value = value.as_ref().map_or_else(|| " was removed".to_owned(), |value| format!(": {}", text(value)));
    format!("{}  {}{value}\n", look.paint(Paint::Title, &object.to_string()), look.paint(Paint::Title, &field.to_string()))
}

/// Where a value was written, and where it was asked for if that is another file.
fn single_place(link: &Link, look: &Look<'_>) -> String {
    let written = link.changes.first().and_then(|change| change.place.as_ref());
    match (written, &link.asked) {
        (Some(written), Some(asked)) if asked.file != written.file => {
            format!("{}, asked for at {}", look.place(written), look.place(asked))
        }
        (Some(place), _) | (None, Some(place)) => look.place(place),
        (None, None) => String::new(),
    }
}

fn link_place(link: &Link, look: &Look<'_>) -> String {
    let is_file = |place: &&crate::object::Origin| place.line > 0;
    let first = link.changes.first().and_then(|change| change.place.as_ref());
    link.asked.as_ref().filter(is_file).or(first).map(|place| look.place(place)).unwrap_or_default()
}

fn listed(link: &Link, change: &Changed, look: &Look<'_>) -> String {
    let elsewhere = change.place.as_ref().filter(|place| link.asked.as_ref() != Some(place) && place.line > 0);
    let place = elsewhere.map(|place| format!("  {}", look.place(place))).unwrap_or_default();
    format!("      {}: {}{place}\n", change.field, values(change, look))
}
