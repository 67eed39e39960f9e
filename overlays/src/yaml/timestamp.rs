//! YAML timestamps as go-yaml reads them (four layouts of Go's `time.Parse`) and JSON prints them.

/// Reads a date or time; gives it as RFC 3339, with the zone that was written.
pub(super) fn normal(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    // Every layout begins with a year of four digits and a dash: a cheap way out for all numbers.
    if bytes.len() < 8 || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (year, mut rest) = (&text[..4], Rest(&text[5..]));
    let month = rest.number(1, 12)?;
    rest.byte(b'-')?;
    let day = rest.number(1, days_in(year.parse().ok()?, month))?;
    let date = format!("{year}-{month:02}-{day:02}");
    if rest.0.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let zoned = !rest.0.starts_with(' ');
    rest.byte(if rest.0.starts_with('t') {
        b't'
    } else if zoned {
        b'T'
    } else {
        b' '
    })?;
    let time = rest.time()?;
    let zone = if zoned { rest.zone()? } else { "Z".to_owned() };
    rest.0.is_empty().then(|| format!("{date}T{time}{zone}"))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What of a text is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn byte(&mut self, byte: u8) -> Option<()> {
        (*self.0.as_bytes().first()? == byte).then(|| self.0 = &self.0[1..])
    }

    /// One digit or two, and a value in the range.
    fn number(&mut self, least: u32, most: u32) -> Option<u32> {
        let length = self.0.bytes().take(2).take_while(u8::is_ascii_digit).count();
        let value = self.0[..length].parse().ok()?;
        self.0 = &self.0[length..];
        (least..=most).contains(&value).then_some(value)
    }

    fn time(&mut self) -> Option<String> {
        let hour = self.number(0, 23)?;
        self.byte(b':')?;
        let minute = self.number(0, 59)?;
        self.byte(b':')?;
        let second = self.number(0, 59)?;
        Some(format!("{hour:02}:{minute:02}:{second:02}{}", self.fraction()))
    }

    /// Nanoseconds at most; further digits are cut, as are zeros at the end.
    fn fraction(&mut self) -> String {
        let bytes = self.0.as_bytes();
        let length = bytes.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        if !matches!(bytes.first(), Some(b'.' | b',')) || length == 0 {
            return String::new();
        }
        let kept = self.0[1..=length.min(9)].trim_end_matches('0');
        let text = if kept.is_empty() { String::new() } else { format!(".{kept}") };
        self.0 = &self.0[1 + length..];
        text
    }

    /// `Z`, or an offset of two and two digits.
    fn zone(&mut self) -> Option<String> {
        if self.byte(b'Z').is_some() {
            return Some("Z".to_owned());
        }
        let offset = self.0.get(..6)?;
        let [b'+' | b'-', h1, h2, b':', m1, m2] = offset.as_bytes() else {
            return None;
        };
        let fits = [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) && &offset[1..3] <= "23" && &offset[4..6] <= "59";
        self.0 = &self.0[6..];
        let zero = &offset[1..] == "00:00";
        fits.then(|| if zero { "Z".to_owned() } else { offset.to_owned() })
    }
}
