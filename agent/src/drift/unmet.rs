//! Names what a live object does not have as Git asks, where no answer to an apply can say it: the server has refused the apply, or makes
//! something else of it.
//!
//! Git does not say by which keys a list is a map, nor what the server adds to a value. So keys are read from the managed fields, whoever's they
//! are, and only what Git asks for is looked at: what is there besides is no difference.

use serde_json::{Map, Value};

use super::difference::{Difference, same_quantity, shown};
use super::fields::{self, DEEPEST, Step};
use super::policy::known_items;

/// The most that is told of one object.
const MOST: usize = 64;

/// What of `body`, as it would be applied, a live object does not have.
pub fn unmet(body: &Value, live: &Value) -> Vec<Difference> {
    let known: Vec<&Map<String, Value>> = fields::entries(live).iter().filter_map(fields::listed).collect();
    let mut walk = Walk { path: Vec::new(), found: Vec::new(), secret: body["kind"] == "Secret" };
    for (key, wanted) in body.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                let told = wanted.as_object().into_iter().flatten().filter(|(key, _)| *key == "labels" || *key == "annotations");
                let told = told.map(|(key, value)| (key.clone(), value.clone())).collect();
                walk.field(key, &Value::Object(told), Some(live), &known);
            }
            _ => walk.field(key, wanted, Some(live), &known),
        }
    }
    walk.found
}

struct Walk {
    path: Vec<String>,
    found: Vec<Difference>,
    secret: bool,
}

impl Walk {
    fn field(&mut self, key: &str, wanted: &Value, live: Option<&Value>, known: &[&Map<String, Value>]) {
        let step = format!("f:{key}");
        let below = below(known, &step);
        self.path.push(step);
        self.value(wanted, live.and_then(|live| live.get(key)), &below);
        self.path.pop();
    }

    /// `known` is what anybody's entries list below.
    fn value(&mut self, wanted: &Value, live: Option<&Value>, known: &[&Map<String, Value>]) {
        if self.path.len() > DEEPEST || self.found.len() >= MOST {
            return;
        }
        match (wanted, live) {
            (Value::Object(map), _) => map.iter().for_each(|(key, wanted)| self.field(key, wanted, live, known)),
            (Value::Array(items), Some(live)) if is_map(items, known) => {
                items.iter().for_each(|item| self.item(wanted, item, live, known));
            }
            (Value::Array(items), None) if items.is_empty() => {}
            (wanted, Some(live)) if covers(live, wanted) || (self.is_typed() && same_quantity(live, wanted)) => {}
            (wanted, live) => self.note(wanted, live),
        }
    }

    fn item(&mut self, list: &Value, item: &Value, live: &Value, known: &[&Map<String, Value>]) {
        // The key as an entry has it, with what the server adds to it; else what there is of it.
        let has = |step: &&String| matches!(Step::parse(step), Some(Step::Item(keys)) if is_at(list, item, keys));
        let listed = known.iter().flat_map(|known| known.keys()).find(has).cloned();
        let step = listed.unwrap_or_else(|| format!("k:{}", keys_of(item, known)));
        let below = below(known, &step);
        let found = Step::parse(&step).and_then(|step| fields::follow(live, step)).cloned();
        self.path.push(step);
        match found {
            Some(found) => self.value(item, Some(&found), &below),
            None => self.note(item, None),
        }
        self.path.pop();
    }

    /// Whether a text here may be a quantity that the server has written in its own way; what people put into `data`, labels and variables stays
    /// as it is.
    fn is_typed(&self) -> bool {
        let first = self.path.first().map(String::as_str).unwrap_or_default();
        !["f:data", "f:stringData", "f:metadata"].contains(&first) && self.path.last().is_none_or(|last| last != "f:value")
    }

    fn note(&mut self, was: &Value, is: Option<&Value>) {
        let shown = |value: &Value| shown(value, self.secret, &self.path);
        self.found.push(Difference { path: self.path.clone(), was: Some(shown(was)), is: is.map(shown), is_order: false });
    }
}

fn below<'a>(known: &[&'a Map<String, Value>], step: &str) -> Vec<&'a Map<String, Value>> {
    known.iter().filter_map(|known| known.get(step)?.as_object()).collect()
}

/// The names of the keys of a list; none if nobody's entry has it as a map.
fn keys(known: &[&Map<String, Value>]) -> Option<Map<String, Value>> {
    let keys = known.iter().flat_map(|known| known.keys()).find_map(|key| key.strip_prefix("k:"))?;
    serde_json::from_str(keys).ok()
}

/// Whether a list is a map by keys. Where all that was in it is gone, no entry tells: items that have names are taken for one.
fn is_map(items: &[Value], known: &[&Map<String, Value>]) -> bool {
    let named = |item: &Value| item.get("name").is_some_and(Value::is_string);
    keys(known).is_some() || (known.is_empty() && !items.is_empty() && items.iter().all(named))
}

fn is_at(list: &Value, item: &Value, keys: &str) -> bool {
    known_items(list, keys).iter().any(|place| list.get(place).is_some_and(|found| std::ptr::eq(found, item)))
}

fn keys_of(item: &Value, known: &[&Map<String, Value>]) -> Value {
    let names: Vec<String> = keys(known).map_or_else(|| vec!["name".to_owned()], |keys| keys.keys().cloned().collect());
    names.into_iter().filter_map(|name| Some((name.clone(), item.get(&name)?.clone()))).collect::<Map<_, _>>().into()
}

/// Whether a value has all that is asked for; what the server has added does not matter.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).is_some_and(|live| covers(live, wanted)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        _ => fields::same(live, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(body: &Value, live: &Value) -> Vec<String> {
        let text = |side: Option<String>| side.unwrap_or_else(|| "-".to_owned());
        unmet(body, live)
            .into_iter()
            .map(|difference| format!("{}: {} → {}", difference.shown(), text(difference.was), text(difference.is)))
            .collect()
    }

    fn live(fields: Value, spec: Value) -> Value {
        json!({"kind": "X", "spec": spec, "metadata": {"labels": {"a": "b"}, "managedFields": [{"manager": "x", "fieldsV1": fields}]}})
    }

    #[test]
    fn only_what_git_asks_for_is_told() {
        let body = json!({"kind": "X", "metadata": {"name": "x", "labels": {"a": "c"}}, "spec": {"n": 1, "gone": "y", "empty": {}, "args": ["a"], "cpu": "1000m"}});
        let live = live(json!({}), json!({"n": 1, "added": 1, "args": ["b"], "cpu": "1"}));
        assert_eq!(told(&body, &live), ["metadata.labels.a: c → b", "spec.args: [\"a\"] → [\"b\"]", "spec.gone: y → -"]);
    }

    #[test]
    fn items_are_found_by_the_keys_that_anybody_holds_them_by() {
        let body = json!({"spec": {"ports": [{"port": 80, "target": 1}, {"port": 81}], "named": [{"name": "a", "v": 1}]}});
        let fields = json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:target": {}}}}});
        let live = live(fields, json!({"ports": [{"port": 80, "protocol": "TCP", "target": 2}], "named": []}));
        assert_eq!(
            told(&body, &live),
            [
                "spec.named[name=a]: {\"name\":\"a\",\"v\":1} → -",
                "spec.ports[port=80,protocol=TCP].target: 1 → 2",
                "spec.ports[port=81]: {\"port\":81} → -"
            ]
        );
    }

    #[test]
    fn what_the_server_adds_to_a_list_that_is_one_value_is_no_difference() {
        let body = json!({"spec": {"rules": [{"host": "a"}]}});
        assert_eq!(told(&body, &live(json!({}), json!({"rules": [{"host": "a", "added": true}]}))), [""; 0]);
    }

    #[test]
    fn what_a_secret_holds_is_never_shown() {
        let body = json!({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}});
        assert_eq!(told(&body, &json!({"kind": "Secret", "data": {"a": "x"}})), ["data.a: **** → ****"]);
    }
}
