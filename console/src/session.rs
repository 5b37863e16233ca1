//! Who is logged in: sessions in memory, named by a random cookie, which is kept only as its hash. A restart ends them all.

use recovery::http::Person;
use recovery::model::DryRun;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Without a request for so long, a session ends.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
/// However busy, a session ends after so long.
pub(crate) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions of one person; the one that was used the longest ago makes room.
const OF_ONE_PERSON: usize = 20;
/// Sessions in all.
const MOST: usize = 1000;
/// Invitations not used yet.
const INVITATIONS: usize = 16;
/// Answers to dry runs kept for the page that shows them, a session.
const DRY_RUNS: usize = 8;

type Hash = [u8; 32];

/// 256 random bits in hexadecimal; none when the machine has no randomness.
fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

fn hash(secret: &str) -> Hash {
    Sha256::digest(secret).into()
}

#[derive(Debug)]
struct Session {
    person: Person,
    csrf: String,
    since: Instant,
    used: Instant,
    /// What the last change did, for the next page
    notice: Option<String>,
    dry_runs: VecDeque<DryRun>,
}

/// Who a session is.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) person: Person,
    /// Every form of the session carries it
    pub(crate) csrf: String,
    /// Names the session, and opens nothing
    pub(crate) session: Hash,
}

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<Hash, Session>,
    invitations: HashMap<Hash, Person>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Known>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session; its cookie. None when the machine has no randomness.
    pub(crate) fn open(&self, person: Person, now: Instant) -> Option<String> {
        let (cookie, csrf) = (random()?, random()?);
        let mut known = self.lock();
        known.sessions.retain(|_, session| session.lives(now));
        let same = |session: &&Session| session.person.name() == person.name();
        if known.sessions.values().filter(same).count() >= OF_ONE_PERSON {
            known.forget_oldest(|session| session.person.name() == person.name());
        }
        if known.sessions.len() >= MOST {
            known.forget_oldest(|_| true);
        }
        let session = Session {
            person,
            csrf,
            since: now,
            used: now,
            notice: None,
            dry_runs: VecDeque::new(),
        };
        known.sessions.insert(hash(&cookie), session);
        Some(cookie)
    }

    /// Who has this cookie. A `background` request, which no person made, does not lengthen the session.
    pub(crate) fn member(&self, cookie: &str, now: Instant, background: bool) -> Option<Member> {
        let (key, mut known) = (hash(cookie), self.lock());
        let session = known.sessions.get_mut(&key)?;
        if !session.lives(now) {
            known.sessions.remove(&key);
            return None;
        }
        if !background {
            session.used = now;
        }
        Some(Member {
            person: session.person.clone(),
            csrf: session.csrf.clone(),
            session: key,
        })
    }

    /// Whether it is still open.
    pub(crate) fn is_open(&self, session: &Hash, now: Instant) -> bool {
        let known = self.lock();
        known
            .sessions
            .get(session)
            .is_some_and(|session| session.lives(now))
    }

    pub(crate) fn close(&self, session: &Hash) {
        self.lock().sessions.remove(session);
    }

    /// Leaves a sentence for the next page.
    pub(crate) fn notify(&self, session: &Hash, notice: String) {
        if let Some(session) = self.lock().sessions.get_mut(session) {
            session.notice = Some(notice);
        }
    }

    pub(crate) fn take_notice(&self, session: &Hash) -> Option<String> {
        self.lock().sessions.get_mut(session)?.notice.take()
    }

    /// Keeps the answer to a dry run: the API gives it once.
    pub(crate) fn keep_dry_run(&self, session: &Hash, dry_run: DryRun) {
        if let Some(session) = self.lock().sessions.get_mut(session) {
            session.dry_runs.retain(|kept| kept.job != dry_run.job);
            session.dry_runs.push_back(dry_run);
            if session.dry_runs.len() > DRY_RUNS {
                session.dry_runs.pop_front();
            }
        }
    }

    pub(crate) fn dry_run(&self, session: &Hash, job: &str) -> Option<DryRun> {
        let known = self.lock();
        let kept = known.sessions.get(session)?.dry_runs.iter();
        kept.rev().find(|kept| kept.job == job).cloned()
    }

    /// A code that opens one session.
    pub(crate) fn invite(&self, person: Person) -> Option<String> {
        let (code, mut known) = (random()?, self.lock());
        if known.invitations.len() >= INVITATIONS {
            return None;
        }
        known.invitations.insert(hash(&code), person);
        Some(code)
    }

    /// Takes the invitation with this code: nobody can use it again.
    pub(crate) fn accept(&self, code: &str) -> Option<Person> {
        self.lock().invitations.remove(&hash(code))
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.duration_since(self.used) < IDLE && now.duration_since(self.since) < LONGEST
    }
}

impl Known {
    fn forget_oldest(&mut self, among: impl Fn(&Session) -> bool) {
        let those = self.sessions.iter().filter(|(_, session)| among(session));
        let oldest = those.min_by_key(|(_, session)| session.used);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.sessions.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;
    use recovery::http::Tokens;
    use std::io::Write;

    fn person(name: &str) -> Person {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789abcdef").unwrap();
        let entry = format!("{name}:viewer=file:{}", file.path().display());
        let tokens = Tokens::parse(&[entry]).unwrap();
        tokens.person(b"0123456789abcdef").unwrap()
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it_and_when_it_is_old() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let cookie = sessions.open(person("vera"), start).unwrap();
        let second = Duration::from_secs(1);
        assert!(
            sessions
                .member(&cookie, start + IDLE - second, true)
                .is_some()
        );
        assert!(sessions.member(&cookie, start + IDLE, true).is_none());

        let cookie = sessions.open(person("vera"), start).unwrap();
        let mut now = start;
        while now + IDLE / 2 < start + LONGEST {
            now += IDLE / 2;
            assert!(sessions.member(&cookie, now, false).is_some());
        }
        assert!(sessions.member(&cookie, start + LONGEST, false).is_none());
        assert!(sessions.member("", start, false).is_none());
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_makes_room() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let first = sessions.open(person("vera"), start).unwrap();
        let other = sessions.open(person("olga"), start).unwrap();
        let second = Duration::from_secs(1);
        for _ in 0..OF_ONE_PERSON {
            sessions.open(person("vera"), start + second).unwrap();
        }
        assert!(sessions.member(&first, start + second, false).is_none());
        assert!(sessions.member(&other, start + second, false).is_some());
    }

    #[test]
    fn an_invitation_is_used_once() {
        let sessions = Sessions::default();
        let code = sessions.invite(person("vera")).unwrap();
        assert_eq!(sessions.accept(&code).unwrap().name(), "vera");
        assert!(sessions.accept(&code).is_none() && sessions.accept("").is_none());
    }

    #[test]
    fn a_notice_is_read_once_and_a_closed_session_is_gone() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let cookie = sessions.open(person("vera"), now).unwrap();
        let session = sessions.member(&cookie, now, false).unwrap().session;
        sessions.notify(&session, "done".to_owned());
        assert_eq!(sessions.take_notice(&session).as_deref(), Some("done"));
        assert_eq!(sessions.take_notice(&session), None);
        sessions.close(&session);
        assert!(sessions.member(&cookie, now, false).is_none() && !sessions.is_open(&session, now));
    }
}
