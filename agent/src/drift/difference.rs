//! Names the fields of ours that differ between an object as we applied it and the same as somebody left it.

use serde_json::{Map, Value};

use super::fields::{self, DEEPEST, SELF, Step};

/// The most that is told of one object; what differs in more fields is seen from these.
const MOST: usize = 64;
/// The longest value that is shown, in characters.
const SHOWN: usize = 60;

/// A field of ours that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The steps to it, as the managed fields write them.
    pub path: Vec<String>,
    /// What we applied, as text; none where there was nothing, as below an empty map of ours. `****` for what Secrets hold.
    pub was: Option<String>,
    /// What is there now; none where it is gone.
    pub is: Option<String>,
    /// Whether it is the order of our items: who holds the list need not be who has changed that.
    pub is_order: bool,
}

impl Difference {
    /// The path as an operator reads it: `spec.template.spec.containers[name=web].image`.
    pub fn shown(&self) -> String {
        fields::shown(&self.path)
    }
}

/// What of ours differs: `healed` is the object as an apply of ours made it (or would), `drifted` as it was before. Both are the server's words, so
/// quantities are in its form already. Nothing is told where only the owner of a field has changed.
pub fn differences(healed: &Value, drifted: &Value) -> Vec<Difference> {
    let Some(listed) = fields::ours(healed).and_then(fields::listed) else { return Vec::new() };
    let secret = healed["kind"] == "Secret";
    let mut walk = Walk { path: Vec::new(), found: Vec::new(), secret };
    walk.along(listed, Some(healed), Some(drifted));
    walk.found
}

struct Walk {
    path: Vec<String>,
    found: Vec<Difference>,
    secret: bool,
}

impl Walk {
    fn along(&mut self, listed: &Map<String, Value>, healed: Option<&Value>, drifted: Option<&Value>) {
        if self.path.len() > DEEPEST || self.found.len() >= MOST {
            return;
        }
        for (key, below) in listed.iter().filter(|(key, _)| *key != SELF) {
            let Some(step) = Step::parse(key) else { continue };
            let of = |value: Option<&Value>| -> Option<Value> { value.and_then(|value| fields::follow(value, step)).cloned() };
            self.path.push(key.clone());
            match (of(healed), of(drifted)) {
                // An item that is gone is one thing; of a map that is gone each of our fields is.
                (Some(was), None) if matches!(step, Step::Item(_)) => self.note(Some(&was), None),
                (was, is) => self.below(below, was.as_ref(), is.as_ref()),
            }
            self.twice(step, healed, drifted);
            self.path.pop();
        }
        self.order(listed, healed, drifted);
    }

    fn below(&mut self, below: &Value, was: Option<&Value>, is: Option<&Value>) {
        match below.as_object().filter(|below| !fields::is_leaf(below)) {
            Some(below) => self.along(below, was, is),
            None => self.whole(was, is),
        }
    }

    /// Something that is ours as a whole. Maps are told key by key.
    fn whole(&mut self, was: Option<&Value>, is: Option<&Value>) {
        match (was, is) {
            (Some(Value::Object(was)), Some(Value::Object(is))) if self.path.len() < DEEPEST => {
                let keys: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
                for key in keys {
                    self.path.push(format!("f:{key}"));
                    self.whole(was.get(key), is.get(key));
                    self.path.pop();
                }
            }
            (Some(was), Some(is)) if fields::same(was, is) => {}
            (None, None) => {}
            (was, is) => self.note(was, is),
        }
    }

    /// An item of ours that is there twice.
    fn twice(&mut self, step: Step<'_>, healed: Option<&Value>, drifted: Option<&Value>) {
        let Step::Item(keys) = step else { return };
        let count = |value: Option<&Value>| value.map(|value| fields::items(value, keys).len()).unwrap_or_default();
        let (was, is) = (count(healed), count(drifted));
        if was == 1 && is > 1 {
            self.push(Some("once".to_owned()), Some(format!("{is} times")));
        }
    }

    fn order(&mut self, listed: &Map<String, Value>, healed: Option<&Value>, drifted: Option<&Value>) {
        let (Some(healed), Some(drifted)) = (healed, drifted) else { return };
        let place = |list: &Value, keys: &str| fields::items(list, keys).first().map(|(place, _)| *place);
        let ours = listed.keys().filter_map(|key| key.strip_prefix("k:"));
        let mut both: Vec<(usize, usize, &str)> =
            ours.filter_map(|keys| Some((place(healed, keys)?, place(drifted, keys)?, keys))).collect();
        let names = |both: &[(usize, usize, &str)]| both.iter().map(|(_, _, keys)| fields::shown_keys(keys)).collect::<Vec<_>>().join(" ");
        both.sort_unstable_by_key(|(was, _, _)| *was);
        let was = names(&both);
        if both.is_sorted_by_key(|(_, is, _)| *is) {
            return;
        }
        both.sort_unstable_by_key(|(_, is, _)| *is);
        self.push(Some(cut(&format!("order {was}"))), Some(cut(&format!("order {}", names(&both)))));
        self.found.iter_mut().rev().take(1).for_each(|difference| difference.is_order = difference.path == self.path);
    }

    fn note(&mut self, was: Option<&Value>, is: Option<&Value>) {
        let shown = |value: &Value| shown(value, self.secret, &self.path);
        let (was, is) = (was.map(shown), is.map(shown));
        self.push(was, is);
    }

    fn push(&mut self, was: Option<String>, is: Option<String>) {
        if self.found.len() < MOST {
            self.found.push(Difference { path: self.path.clone(), was, is, is_order: false });
        }
    }
}

/// A value in few characters; `secret` is whether it is a Secret's, of which nothing is shown that it keeps.
pub(super) fn shown(value: &Value, secret: bool, path: &[String]) -> String {
    match value {
        _ if secret && path.first().is_some_and(|first| first == "f:data" || first == "f:stringData") => "****".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => cut(text),
        other => cut(&other.to_string()),
    }
}

fn cut(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// Whether two texts are one quantity (`1000m` and `1`), as Kubernetes reads them (apimachinery, `resource.Quantity`).
pub(super) fn same_quantity(a: &Value, b: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match (text(a).as_deref().and_then(quantity), text(b).as_deref().and_then(quantity)) {
        // Two plain numbers are no quantities: a label "1" is not "1.0".
        (Some((a, a_plain)), Some((b, b_plain))) => (!a_plain || !b_plain) && (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs()),
        _ => false,
    }
}

/// The value, and whether it has no suffix.
fn quantity(text: &str) -> Option<(f64, bool)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        _ => return None,
    };
    Some((number * factor, suffix.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn healed(kind: &str, fields: Value, rest: &Value) -> Value {
        let mut object = rest.clone();
        object["kind"] = kind.into();
        object["metadata"] = json!({"managedFields": [{"manager": "plimsoll", "operation": "Apply", "fieldsV1": fields}]});
        object
    }

    fn told(kind: &str, fields: Value, was: &Value, is: &Value) -> Vec<String> {
        let told = differences(&healed(kind, fields, was), is);
        let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        told.iter().map(|difference| format!("{}: {} → {}", difference.shown(), text(&difference.was), text(&difference.is))).collect()
    }

    #[test]
    fn a_changed_a_removed_and_a_foreign_field_are_told_by_their_paths() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
            "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}}},
            "f:volumes": {"k:{\"name\":\"d\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}}}}}});
        let object = |replicas: Value, image: &str, empty: Value| {
            json!({"spec": {"replicas": replicas, "template": {"spec": {
                "containers": [{"name": "side"}, {"name": "web", "image": image}], "volumes": [{"name": "d", "emptyDir": empty}]}}}})
        };
        let was = object(json!(3), "a:1", json!({}));
        assert_eq!(told("Deployment", fields.clone(), &was, &was), [""; 0]);
        assert_eq!(
            told("Deployment", fields.clone(), &was, &object(json!(5), "a:2", json!({"medium": "Memory"}))),
            [
                "spec.replicas: 3 → 5",
                "spec.template.spec.containers[name=web].image: a:1 → a:2",
                "spec.template.spec.volumes[name=d].emptyDir.medium: - → Memory",
            ]
        );
        let gone = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [], "volumes": [{"name": "d", "emptyDir": {}}]}}}});
        let removed = r#"spec.template.spec.containers[name=web]: {"image":"a:1","name":"web"} → -"#;
        assert_eq!(told("Deployment", fields, &was, &gone), [removed]);
    }

    #[test]
    fn an_order_and_an_item_that_is_there_twice_are_told() {
        let fields = json!({"f:spec": {"f:env": {"k:{\"name\":\"A\"}": {"f:name": {}}, "k:{\"name\":\"B\"}": {"f:name": {}}}}});
        let env = |names: &[&str]| json!({"spec": {"env": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}});
        assert_eq!(
            told("X", fields.clone(), &env(&["A", "B"]), &env(&["B", "x", "A"])),
            ["spec.env: order name=A name=B → order name=B name=A"]
        );
        assert_eq!(told("X", fields, &env(&["A", "B"]), &env(&["A", "B", "A"])), ["spec.env[name=A]: once → 2 times"]);
    }

    #[test]
    fn what_a_secret_holds_is_never_shown() {
        let fields = json!({"f:data": {"f:a.b": {}}, "f:metadata": {"f:labels": {"f:l": {}}}});
        let was = json!({"data": {"a.b": "aHVudGVyMg=="}});
        assert_eq!(told("Secret", fields, &was, &json!({"data": {"a.b": "x"}})), ["data[\"a.b\"]: **** → ****"]);
    }

    #[test]
    fn a_text_that_could_be_a_quantity_is_a_text() {
        let fields = json!({"f:data": {"f:size": {}}});
        let size = |value: &str| json!({"data": {"size": value}});
        assert_eq!(told("ConfigMap", fields, &size("1Gi"), &size("1024Mi")), ["data.size: 1Gi → 1024Mi"]);
    }

    #[test]
    fn quantities_are_the_same_by_value() {
        for (a, b, same) in [
            ("1000m", "1", true),
            ("1Gi", "1024Mi", true),
            ("1", "1.0", false),
            ("1", "2", false),
            ("1k", "1Ki", false),
            ("v1", "v2", false),
        ] {
            assert_eq!(same_quantity(&json!(a), &json!(b)), same, "{a} {b}");
        }
    }
}
