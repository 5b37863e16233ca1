//! Who asks, and what they may: bearer tokens, each with a name and a role.

use super::problem::ApiProblem;
use super::role::TokenRole;
use axum::http::{HeaderMap, header};
use contracts::Secret;
use runtime::config::ConfigError;
use runtime::files::resolve_secret;
use std::sync::Arc;

/// Shorter ones can be guessed.
const MIN_BYTES: usize = 16;

/// The name of the token a request came with: what the audit log calls who did it.
#[derive(Debug, Clone)]
pub(crate) struct Who(pub(crate) String);

/// Somebody whose token was right. A request of this process that carries one as an extension needs no token: nothing but
/// [`Tokens::person`] makes one, and no request from outside has an extension.
#[derive(Debug, Clone)]
pub struct Person {
    name: String,
    role: TokenRole,
}

impl Person {
    /// What the audit log calls them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What they may do.
    #[must_use]
    pub fn role(&self) -> TokenRole {
        self.role
    }

    /// They, if they may do what needs `needs`.
    pub(crate) fn admit(&self, needs: TokenRole) -> Result<Who, ApiProblem> {
        if self.role < needs {
            return Err(ApiProblem::RoleTooLow {
                who: self.name.clone(),
                has: self.role,
                needs,
            });
        }
        Ok(Who(self.name.clone()))
    }
}

#[derive(Debug)]
struct Token {
    name: String,
    role: TokenRole,
    secret: Secret,
}

/// All tokens that are taken. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Arc<Vec<Token>>);

impl Tokens {
    /// Reads `NAME:ROLE=REF`, REF being `env:NAME` or `file:/path`. A name may come twice, for a change of token without a gap.
    ///
    /// # Errors
    /// Names the entry by its place and never quotes it: somebody may have written the token itself.
    pub fn parse(entries: &[String]) -> Result<Self, ConfigError> {
        let mut tokens: Vec<Token> = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let bad = |problem: String| {
                ConfigError::new("--api-token", format!("token {}: {problem}", place + 1))
            };
            let form = || {
                bad("expected NAME:ROLE=REF, as alice:operator=env:ALICES_TOKEN; REF is env:NAME or file:/path".to_owned())
            };
            let (who, reference) = entry.split_once('=').ok_or_else(form)?;
            let (name, role) = who.split_once(':').ok_or_else(form)?;
            let legal =
                |character: char| character.is_ascii_alphanumeric() || "._-@+".contains(character);
            if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
                return Err(bad(
                    "a name is 1 to 64 letters, digits and . _ - @ +".to_owned()
                ));
            }
            let role = role
                .parse()
                .map_err(|()| bad("a role is viewer or operator".to_owned()))?;
            let secret = resolve_secret(reference).map_err(bad)?;
            if secret.expose().len() < MIN_BYTES {
                return Err(bad(format!(
                    "shorter than {MIN_BYTES} characters; make one with: openssl rand -hex 32"
                )));
            }
            if tokens.iter().any(|token| token.secret == secret) {
                return Err(bad(
                    "the same secret as another token's; give each person one of their own"
                        .to_owned(),
                ));
            }
            if tokens
                .iter()
                .any(|token| token.name == name && token.role != role)
            {
                return Err(bad(
                    "the same name with another role; give it one role".to_owned()
                ));
            }
            tokens.push(Token {
                name: name.to_owned(),
                role,
                secret,
            });
        }
        Ok(Self(Arc::new(tokens)))
    }

    /// One token, held in memory only: for the command line, which calls the routes in its own process.
    #[must_use]
    pub fn one(name: &str, role: TokenRole, secret: Secret) -> Self {
        Self(Arc::new(vec![Token {
            name: name.to_owned(),
            role,
            secret,
        }]))
    }

    /// Whether nobody can come in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who sends this, if they may do what needs `needs`.
    pub(crate) fn admit(&self, headers: &HeaderMap, needs: TokenRole) -> Result<Who, ApiProblem> {
        if self.is_empty() {
            return Err(ApiProblem::NoTokensConfigured);
        }
        let given = headers
            .get(header::AUTHORIZATION)
            .map(axum::http::HeaderValue::as_bytes)
            .unwrap_or_default();
        let given = match given.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => return Err(ApiProblem::BadToken),
        };
        self.person(given).ok_or(ApiProblem::BadToken)?.admit(needs)
    }

    /// Whose token this is. Every token is compared, in constant time, whichever it is.
    #[must_use]
    pub fn person(&self, given: &[u8]) -> Option<Person> {
        let mut found = None;
        for token in self.0.iter() {
            if token.secret.ct_eq(given) {
                found = Some(token);
            }
        }
        found.map(|token| Person {
            name: token.name.clone(),
            role: token.role,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;
    use std::io::Write;

    fn parse(entries: &[&str]) -> Result<Tokens, ConfigError> {
        Tokens::parse(
            &entries
                .iter()
                .map(|entry| (*entry).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_bad_entry_is_refused_and_never_quoted() {
        let (short, long) = (file("short"), file("LEAKED-and-long-enough"));
        let (short, long) = (
            format!("a:viewer=file:{}", short.path().display()),
            format!("file:{}", long.path().display()),
        );
        for (entries, says) in [
            (vec!["LEAKED-secret".to_owned()], "expected NAME:ROLE=REF"),
            (vec!["alice=LEAKED".to_owned()], "expected NAME:ROLE=REF"),
            (
                vec!["alice:operator=LEAKED".to_owned()],
                "env:NAME or file:/path",
            ),
            (vec!["alice:LEAKED=env:X".to_owned()], "viewer or operator"),
            (vec!["LEAKED\x1b[2J:viewer=env:X".to_owned()], "a name is"),
            (
                vec!["a:viewer=env:EVENTFLOW_NO_SUCH_VARIABLE".to_owned()],
                "is not set",
            ),
            (vec![short], "shorter than 16"),
            (
                vec![format!("a:viewer={long}"), format!("b:viewer={long}")],
                "token 2: the same secret",
            ),
        ] {
            let error = Tokens::parse(&entries).unwrap_err().to_string();
            assert!(
                error.contains(says)
                    && error.starts_with("--api-token")
                    && !error.contains("LEAKED"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_token_opens_what_its_role_may_and_nothing_more() {
        assert_eq!("admin".parse(), Ok(TokenRole::Operator));
        let secret = file("0123456789abcdef\n");
        let tokens = parse(&[&format!("alice:viewer=file:{}", secret.path().display())]).unwrap();
        let with =
            |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        let right = with("bearer 0123456789abcdef");
        assert_eq!(tokens.admit(&right, TokenRole::Viewer).unwrap().0, "alice");
        assert_eq!(
            tokens
                .admit(&right, TokenRole::Operator)
                .unwrap_err()
                .code(),
            "role_too_low"
        );
        for wrong in [
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer ",
            "Bearer",
            "Basic 0123456789abcdef",
        ] {
            assert_eq!(
                tokens
                    .admit(&with(wrong), TokenRole::Viewer)
                    .unwrap_err()
                    .code(),
                "bad_token",
                "{wrong}"
            );
        }
        assert_eq!(
            tokens
                .admit(&HeaderMap::new(), TokenRole::Viewer)
                .unwrap_err()
                .code(),
            "bad_token"
        );
        assert_eq!(
            Tokens::default()
                .admit(&right, TokenRole::Viewer)
                .unwrap_err()
                .code(),
            "no_tokens_configured"
        );
    }
}
