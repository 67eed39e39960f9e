//! Numbers as Go reads and prints them (`strconv`, `encoding/json`).

/// Whether a text is one ASCII digit or more, and nothing else.
pub(super) fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An integer as `ParseInt` and `ParseUint` with base 0 read it: `0x`, `0b`, `0o` and a leading zero choose the base.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (radix, digits) = base(body);
    // `from_str_radix` takes a sign of its own, which Go does not.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = sign * i128::from(u64::from_str_radix(digits, radix).ok()?);
    let most = if body.len() == text.len() { i128::from(u64::MAX) } else { i128::from(i64::MAX) };
    (i128::from(i64::MIN)..=most).contains(&value).then_some(value)
}

fn base(body: &str) -> (u32, &str) {
    match body.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &body[2..]),
        [b'0', b'b' | b'B', ..] => (2, &body[2..]),
        [b'0', b'o' | b'O', ..] => (8, &body[2..]),
        [b'0', _, ..] => (8, &body[1..]),
        _ => (10, body),
    }
}

/// go-yaml's own reading of `0b` (and in v3 `0o`), which takes a sign after the prefix: `0b-101` is -5.
pub(super) fn prefixed(text: &str, octal: bool) -> Option<i128> {
    let (radix, rest) = match text.get(..2)? {
        "0b" => (2, &text[2..]),
        "0o" if octal => (8, &text[2..]),
        _ => return None,
    };
    let signed = rest.starts_with(['+', '-']) && !rest[1..].starts_with(['+', '-']);
    if signed { i64::from_str_radix(rest, radix).ok().map(i128::from) } else { None }
}

/// A float as go-yaml's pattern allows it; one that is too large for 64 bits is none.
pub(super) fn float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = if whole.is_empty() { digits(fraction) } else { digits(whole) && (fraction.is_empty() || digits(fraction)) };
    let exponent_fits = exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A number in scientific form: sign, digits without a point, and the exponent of the first digit.
fn parts(text: &str) -> (&'static str, String, i32) {
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", text),
    };
    let (mantissa, exponent) = body.split_once('e').unwrap_or((body, "0"));
    (sign, mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Without an exponent: `0.001`, `1200`.
fn fixed((sign, digits, exponent): (&str, String, i32)) -> String {
    let point = exponent + 1;
    match usize::try_from(point) {
        Err(_) | Ok(0) => format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
        Ok(point) if point >= digits.len() => format!("{sign}{digits}{}", "0".repeat(point - digits.len())),
        Ok(point) => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
    }
}

/// With an exponent of at least so many digits: `1.5e-07`.
fn scientific((sign, digits, exponent): (&str, String, i32), width: usize) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let e_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{e_sign}{:0width$}", exponent.unsigned_abs())
}

fn general(parts: (&'static str, String, i32)) -> String {
    // Go counts the shortest form as six digits of precision when it chooses between the two forms.
    if parts.2 < -4 || parts.2 >= 6 { scientific(parts, 2) } else { fixed(parts) }
}

/// As Go's `encoding/json` prints a float. It must be finite.
pub(super) fn json(value: f64) -> String {
    let parts = parts(&format!("{value:e}"));
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) { scientific(parts, 1) } else { fixed(parts) }
}

/// As go-yaml v2 prints a float that came through JSON: what looks like an integer of 64 bits has become one.
pub(super) fn yaml(value: f64) -> String {
    let text = json(value);
    match integer(&text) {
        Some(integer) => integer.to_string(),
        None => general(parts(&format!("{value:e}"))),
    }
}

/// As go-yaml v3 prints a float. It must be finite.
pub(crate) fn float_text(value: f64) -> String {
    general(parts(&format!("{value:e}")))
}

/// As a float is printed where it is a key of a map in a configuration, or stands where text is wanted: with the precision and the range
/// of 32 bits.
pub(crate) fn short_float(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "sigs.k8s.io/yaml prints them so")]
    let value = value as f32;
    if value.is_nan() {
        return ".nan".to_owned();
    }
    match (value.is_infinite(), value > 0.0) {
        (true, true) => ".inf".to_owned(),
        (true, false) => "-.inf".to_owned(),
        _ => general(parts(&format!("{value:e}"))),
    }
}

/// The integer that a float is once it has been through JSON.
pub(super) fn integral(value: f64) -> Option<i128> {
    integer(&json(value))
}
