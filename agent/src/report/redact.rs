//! Takes out of a text what only its owner may read, before the text becomes public.
//!
//! A commit status is as public as the repository. The types of [`crate::secret`] keep known secrets in; this is the last gate, for the words of others
//! (API servers, forges, libraries), and so it goes by shape: it knows no configuration and no list of secrets.

/// What stands where a secret stood.
const MASK: &str = "****";

/// How tokens of well-known issuers begin (GitHub, GitLab, Slack, AWS).
const TOKEN_PREFIXES: [&str; 11] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "xoxb-", "xoxp-", "AKIA"];

/// The words after which a value is secret, as in `password=...`, `"token":"..."` and `access_token=...`.
const SECRET_KEYS: [&str; 7] = ["password", "passwd", "secret", "token", "apikey", "api_key", "private_key"];

/// The words after which the next word is secret if it looks random, as in `Bearer ...`.
const SCHEMES: [&str; 4] = ["bearer", "basic", "token", "password"];

/// A lone run of letters and digits of this length that mixes cases and digits is taken for a token; names in Kubernetes are lower case, digests too.
const TOKEN_LENGTH: usize = 32;

/// The shortest word after `Bearer` and the like that is taken for a token and not for prose (`token expired`).
const WORD_LENGTH: usize = 8;

/// Makes `text` one line of printable characters without credentials.
pub fn redact(text: &str) -> String {
    let text = without_private_keys(text);
    let mut words = Vec::new();
    let mut before = "";
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let is_secret = announces_value(before) || (announces_token(before) && looks_random(word));
        words.push(if is_secret { MASK.to_owned() } else { word_without_secrets(word) });
        before = word;
    }
    words.join(" ")
}

/// Takes out what is between the lines of a private key in PEM; all of the rest, if its end is cut off.
fn without_private_keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "PRIVATE KEY-----";
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        out.push_str(before);
        let is_private = after.find(END).is_some_and(|at| !after[..at].contains("-----"));
        if is_private {
            out.push_str(MASK);
            rest = after.splitn(3, END).nth(2).unwrap_or_default();
        } else {
            out.push_str(BEGIN);
            rest = after;
        }
    }
    out + rest
}

/// `"token":` in JSON, or `password:` anywhere: the next word is the value. A bare `token:` may be prose.
fn announces_value(word: &str) -> bool {
    let Some(key) = word.strip_suffix([':', '=']) else { return false };
    let is_quoted = key.ends_with(['"', '\'']);
    is_secret_key(key) && (is_quoted || key.to_ascii_lowercase().ends_with("password"))
}

fn announces_token(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_lowercase();
    SCHEMES.contains(&bare.as_str())
}

/// Digits, `=`, or capitals after the first letter: no word of prose.
fn looks_random(word: &str) -> bool {
    let marks = |c: char| c.is_ascii_digit() || c == '=' || c.is_ascii_uppercase();
    word.len() >= WORD_LENGTH && word.chars().skip(1).any(marks)
}

fn word_without_secrets(word: &str) -> String {
    let word = mask_userinfo(word);
    let word = mask_values(&word);
    mask_tokens(&word)
}

/// `https://me:secret@host/path` becomes `https://****@host/path`.
fn mask_userinfo(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{MASK}{}", &rest[at..]),
        None => word.to_owned(),
    }
}

/// `access_token=abc&page=1` becomes `access_token=****&page=1`; likewise `"password":"abc"`.
fn mask_values(word: &str) -> String {
    const SEPARATORS: [char; 3] = ['&', ',', ';'];
    let mut out = String::new();
    for part in word.split_inclusive(SEPARATORS) {
        let value = part.match_indices(['=', ':']).map(|(at, _)| at + 1).find(|&at| is_secret_key(&part[..at - 1]));
        match value.filter(|&at| !part[at..].trim_end_matches(SEPARATORS).is_empty()) {
            Some(at) => {
                out.push_str(&part[..at]);
                out.push_str(MASK);
                out.extend(part.chars().next_back().filter(|last| SEPARATORS.contains(last)));
            }
            None => out.push_str(part),
        }
    }
    out
}

fn is_secret_key(key: &str) -> bool {
    let key = key.trim_end_matches(['"', '\'', '\\']).to_ascii_lowercase();
    SECRET_KEYS.iter().any(|secret| key.ends_with(secret))
}

fn mask_tokens(word: &str) -> String {
    let in_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    let mut out = String::new();
    let mut rest = word;
    while let Some(start) = rest.find(in_token) {
        let end = rest[start..].find(|c| !in_token(c)).map_or(rest.len(), |length| start + length);
        out.push_str(&rest[..start]);
        out.push_str(if looks_like_token(&rest[start..end]) { MASK } else { &rest[start..end] });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn looks_like_token(run: &str) -> bool {
    let has = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
    let known = TOKEN_PREFIXES.iter().any(|prefix| run.starts_with(prefix) && run.len() >= prefix.len() + 8);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    known || (mixed && run.len() >= TOKEN_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        assert_eq!(redact(text), shown);
    }

    #[test]
    fn credentials_are_masked_wherever_they_stand() {
        check("cannot fetch https://me:t0k@en@git.example/a.git now", "cannot fetch https://****@git.example/a.git now");
        check("GET https://git.example/a?access_token=abc&page=1 failed", "GET https://git.example/a?access_token=****&page=1 failed");
        check(r#"{"user":"me","password":"hunter2","ok":1}"#, r#"{"user":"me","password":****,"ok":1}"#);
        check("Authorization: Bearer 0123456789abcdef0123456789abcdef01234567", "Authorization: Bearer ****");
        check("token 0123456789abcdef0123456789abcdef01234567 is refused", "token **** is refused");
        check("used ghp_abcdefgh12345678 there", "used **** there");
        check("eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50In0.x", "****.****.x");
        check("PASSWORD=hunter2; then", "PASSWORD=****; then");
        check(r#"{ "password": "hunter2", "ok": 1 }"#, r#"{ "password": **** "ok": 1 }"#);
        check("line 3: password: hunter2", "line 3: password: ****");
        check("Authorization: Basic bWU6cHc=", "Authorization: Basic ****");
        check("key -----BEGIN EC PRIVATE KEY-----\nMHcCAQ/x\n-----END EC PRIVATE KEY----- is wrong", "key **** is wrong");
        check("key -----BEGIN PRIVATE KEY-----\nMHcCAQ", "key ****");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "Deployment web/api: image pull error",
            "image nginx@sha256:4a5573037f358b6cdfa2f3e8a9c33a5cf11bcd1675ca72ca76fbe5bd77d0d682 not found",
            "commit 1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d",
            "the token expired",
            "invalid token: expired",
            "Basic Authentication is not supported",
            "-----BEGIN CERTIFICATE----- is missing",
            "apps/web/base/api.yaml:12: unknown field `replcas`; did you mean `replicas`?",
            "secrets \"db\" is forbidden: no permission to patch Secret in web",
            "größer als 1 Mi",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let pieces = [
            "ä",
            "://",
            "@",
            "=",
            "&",
            "token",
            "password:",
            "\"",
            " ",
            "-----BEGIN ",
            "PRIVATE KEY-----",
            "\u{0}",
            "A1b2C3d4",
            ";",
            "…",
            ":",
            "?",
        ];
        let mut seed = 7_u64;
        for _ in 0..5_000 {
            let mut text = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            let shown = redact(&text);
            assert!(!shown.contains(char::is_control) && !shown.contains("  "), "{text:?} {shown:?}");
        }
    }

    #[test]
    fn a_text_becomes_one_line() {
        check("a\n  b\tc\u{7}d\r\n", "a b c d");
        check("", "");
    }
}
