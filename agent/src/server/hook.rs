//! Who may wake a Sync: the forge that knows the secret, about nothing else than "look now".
//!
//! The verification is pure and comes before anything in the body is believed; nothing in the body is ever read, for a push hook is a hint to poll the
//! configured repository, and not to fetch what a stranger names.

use std::fmt;

use hmac::{Hmac, Mac};
use http::HeaderMap;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::secret::Secret;

/// Whose hook it is. It is configured and never guessed from headers, for Gitea and Forgejo send GitHub's as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookForge {
    /// `X-Gitea-Signature`: HMAC-SHA-256 of the body, in hexadecimal digits.
    Gitea,
    /// `X-Forgejo-Signature`, or Gitea's.
    Forgejo,
    /// `X-Hub-Signature-256`: `sha256=` and the HMAC-SHA-256 of the body, in hexadecimal digits.
    GitHub,
    /// `X-Gitlab-Token`: the secret itself. (The signed tokens of newer versions are not spoken here.)
    GitLab,
}

impl HookForge {
    /// Reads the word in a configuration.
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "gitea" => Some(Self::Gitea),
            "forgejo" => Some(Self::Forgejo),
            "github" => Some(Self::GitHub),
            "gitlab" => Some(Self::GitLab),
            _ => None,
        }
    }

    /// The headers that may bear the signature, in the order in which they are looked for, and what is before its digits.
    fn signature_headers(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Gitea => (&["x-gitea-signature"], ""),
            Self::Forgejo => (&["x-forgejo-signature", "x-gitea-signature"], ""),
            Self::GitHub => (&["x-hub-signature-256"], "sha256="),
            Self::GitLab => (&["x-gitlab-token"], ""),
        }
    }

    /// The header that names the event, and the events that tell of a push.
    fn event(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Gitea => ("x-gitea-event", &["push", "create", "delete"]),
            Self::Forgejo => ("x-forgejo-event", &["push", "create", "delete"]),
            Self::GitHub => ("x-github-event", &["push", "create", "delete"]),
            Self::GitLab => ("x-gitlab-event", &["Push Hook", "Tag Push Hook"]),
        }
    }

    /// Whether the delivery tells of a push; one that doesn't say may.
    pub(super) fn is_push(self, headers: &HeaderMap) -> bool {
        let (name, pushes) = self.event();
        headers.get(name).is_none_or(|event| pushes.iter().any(|push| event.as_bytes() == push.as_bytes()))
    }
}

/// A secret that is not empty: forges sign with an empty one without a word, and everybody knows that signature.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(Secret);

impl HookSecret {
    /// Takes a secret over.
    ///
    /// # Errors
    /// It is empty, or nothing but blanks.
    pub fn new(secret: Secret) -> Result<Self, EmptySecret> {
        if secret.reveal().trim().is_empty() { Err(EmptySecret) } else { Ok(Self(secret)) }
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// A hook without a secret would be open to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptySecret;

impl fmt::Display for EmptySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the secret of the push hook is empty: give the Secret a value, and the forge the same")
    }
}

impl std::error::Error for EmptySecret {}

/// Why a delivery is not believed. The caller is told nothing of it; the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The header that should bear the signature is not there, or empty.
    Unsigned,
    /// The signature is not what the secret makes of the body.
    WrongSignature,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "it bears no signature; set the same secret on the forge",
            Self::WrongSignature => "its signature does not fit; is the secret on the forge another one?",
        })
    }
}

impl std::error::Error for Refused {}

/// Whether who sent `body` knows the secret. The comparison takes the same time wherever the difference is.
///
/// # Errors
/// It is not signed, or not with this secret.
pub fn verify(forge: HookForge, secret: &HookSecret, headers: &HeaderMap, body: &[u8]) -> Result<(), Refused> {
    let (names, prefix) = forge.signature_headers();
    let shown = names.iter().find_map(|name| headers.get(*name)).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if shown.is_empty() || shown == prefix.as_bytes() {
        return Err(Refused::Unsigned);
    }
    let is_right = match forge {
        HookForge::GitLab => is_secret(secret, shown),
        HookForge::Gitea | HookForge::Forgejo | HookForge::GitHub => {
            shown.strip_prefix(prefix.as_bytes()).and_then(digest).is_some_and(|digest| is_signature(secret, body, &digest))
        }
    };
    if is_right { Ok(()) } else { Err(Refused::WrongSignature) }
}

fn is_signature(secret: &HookSecret, body: &[u8], digest: &[u8; 32]) -> bool {
    mac(secret.0.reveal().as_bytes(), body).is_some_and(|expected| expected.ct_eq(digest).into())
}

/// Compares digests and not the texts, so that not even their lengths are told.
fn is_secret(secret: &HookSecret, shown: &[u8]) -> bool {
    let digest = |text: &[u8]| mac(b"plimsoll hook", text);
    match (digest(secret.0.reveal().as_bytes()), digest(shown)) {
        (Some(expected), Some(shown)) => expected.ct_eq(&shown).into(),
        _ => false,
    }
}

fn mac(key: &[u8], text: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(mac.finalize().into_bytes().into())
}

/// Reads 64 hexadecimal digits; anything else is no signature.
fn digest(digits: &[u8]) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if digits.len() != 2 * out.len() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (hex(*high)? << 4) | hex(*low)?;
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Published by GitHub: "Validating webhook deliveries", section on testing the validation.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const DIGEST: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secret(text: &str) -> HookSecret {
        HookSecret::new(Secret::new(text)).unwrap()
    }

    fn check(forge: HookForge, header: &'static str, value: &str, expected: Result<(), Refused>) {
        let mut headers = HeaderMap::new();
        headers.insert(header, value.parse().unwrap());
        assert_eq!(verify(forge, &secret(SECRET), &headers, BODY), expected, "{forge:?} {header}: {value}");
    }

    #[test]
    fn githubs_published_vector_is_believed() {
        check(HookForge::GitHub, "x-hub-signature-256", &format!("sha256={DIGEST}"), Ok(()));
        check(HookForge::Gitea, "x-gitea-signature", DIGEST, Ok(()));
        check(HookForge::Forgejo, "x-forgejo-signature", DIGEST, Ok(()));
        check(HookForge::Forgejo, "x-gitea-signature", &DIGEST.to_uppercase(), Ok(()));
        check(HookForge::GitLab, "x-gitlab-token", SECRET, Ok(()));
    }

    #[test]
    fn anything_else_is_not() {
        use Refused::{Unsigned, WrongSignature};
        let flipped = DIGEST.replace('7', "8");
        for (value, why) in [
            ("", Unsigned),
            ("sha256=", Unsigned),
            (DIGEST, WrongSignature),
            (&format!("sha1={DIGEST}"), WrongSignature),
            (&format!("sha256={flipped}"), WrongSignature),
            (&format!("sha256={}", &DIGEST[..62]), WrongSignature),
            (&format!("sha256={DIGEST}00"), WrongSignature),
            (&format!("sha256={}zz", &DIGEST[..62]), WrongSignature),
            ("s", WrongSignature),
        ] {
            check(HookForge::GitHub, "x-hub-signature-256", value, Err(why));
        }
        check(HookForge::Gitea, "x-hub-signature-256", &format!("sha256={DIGEST}"), Err(Unsigned));
        check(HookForge::Gitea, "x-gitea-signature", &format!("sha256={DIGEST}"), Err(WrongSignature));
        check(HookForge::GitLab, "x-gitlab-token", "It's a Secret to Everybod", Err(WrongSignature));
        check(HookForge::GitLab, "x-gitlab-token", "", Err(Unsigned));
    }

    #[test]
    fn a_body_of_another_is_not_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-gitea-signature", DIGEST.parse().unwrap());
        assert_eq!(verify(HookForge::Gitea, &secret(SECRET), &headers, b"Hello, World?"), Err(Refused::WrongSignature));
        assert_eq!(verify(HookForge::Gitea, &secret("another"), &headers, BODY), Err(Refused::WrongSignature));
    }

    #[test]
    fn an_empty_secret_is_refused() {
        for text in ["", " ", "\n"] {
            assert_eq!(HookSecret::new(Secret::new(text)), Err(EmptySecret));
        }
        assert_eq!(format!("{:?}", secret(SECRET)), "****");
    }

    #[test]
    fn only_pushes_wake() {
        let told = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-gitea-event", value.parse().unwrap());
            HookForge::Gitea.is_push(&headers)
        };
        assert!(told("push") && !told("issues"));
        assert!(HookForge::GitHub.is_push(&HeaderMap::new()));
    }
}
