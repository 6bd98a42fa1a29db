//! Which request meets which fault: a function of the seed, the request and how often it was made before.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::Method;

/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A write is refused with 409 Conflict.
    Conflict,
    /// A list is answered with 410 Gone, a watch ends with an ERROR event that says so.
    Gone,
    /// 429 with `Retry-After: 1`, in plain text, as priority and fairness answer.
    TooManyRequests,
    /// 500 with a Status.
    Internal,
    /// 503 in plain text, as a load balancer answers.
    Unavailable,
    /// The connection is reset before the API server hears of the request.
    Reset,
    /// A write is done, and the connection is reset instead of its answer.
    AnswerLost,
    /// Nothing is answered until the client gives up, the faults are changed, or eight seconds have passed.
    Hang,
    /// The answer comes in small pieces, for about a second.
    Drip,
    /// A watch is cut within two seconds, at the end of an event or in the middle of one.
    Cut,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Conflict,
        Self::Gone,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
        Self::Reset,
        Self::AnswerLost,
        Self::Hang,
        Self::Drip,
        Self::Cut,
    ];

    fn befalls(self, kind: Kind) -> bool {
        match self {
            Self::Conflict | Self::AnswerLost => kind == Kind::Write,
            Self::Gone => kind != Kind::Write,
            Self::Cut => kind == Kind::Watch,
            _ => true,
        }
    }
}

/// What kind of request it is, as far as faults care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Read,
    Write,
    Watch,
}

impl Kind {
    pub(super) fn of(method: &Method, query: &str) -> Self {
        let watches = query.split('&').any(|part| matches!(part, "watch=true" | "watch=1" | "watch"));
        match *method {
            Method::GET if watches => Self::Watch,
            Method::GET | Method::HEAD => Self::Read,
            _ => Self::Write,
        }
    }
}

/// Which faults are on, and how often they strike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Two runs with the same seed and the same requests meet the same faults.
    pub seed: u64,
    /// How many of a hundred requests are faulted, of those that any of the faults can befall.
    pub percent: u8,
    /// The faults, struck with equal chances.
    pub faults: Vec<Fault>,
}

/// A plan at work: it counts the requests.
#[derive(Debug)]
pub(super) struct Course {
    plan: Plan,
    counts: HashMap<u64, u64>,
}

impl Course {
    pub(super) fn new(plan: Plan) -> Self {
        Self { plan, counts: HashMap::new() }
    }

    /// The fault of the next request of that kind, and a number to vary it by. Requests that run side by side do not
    /// change each other's lot: each path counts for itself.
    pub(super) fn next(&mut self, kind: Kind, method: &Method, path: &str) -> Option<(Fault, u64)> {
        let key = hash((self.plan.seed, kind, method.as_str(), path));
        let count = self.counts.entry(key).or_default();
        *count += 1;
        let dice = hash((key, *count));
        let able: Vec<Fault> = self.plan.faults.iter().copied().filter(|fault| fault.befalls(kind)).collect();
        if able.is_empty() || dice % 100 >= u64::from(self.plan.percent) {
            return None;
        }
        let vary = dice / 100;
        let index = usize::try_from(vary % able.len() as u64).unwrap_or_default();
        Some((able[index], vary / able.len() as u64))
    }
}

/// The same in every run of the same toolchain: `DefaultHasher::new` has no random keys.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub struct Dice {
    seed: u64,
    rolls: u64,
}

impl Dice {
    /// The first number is the same for the same seed, and so are all others.
    pub fn new(seed: u64) -> Self {
        Self { seed, rolls: 0 }
    }

    /// A number below the bound, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.rolls += 1;
        usize::try_from(hash((self.seed, self.rolls)) % bound as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(seed: u64, percent: u8) -> Course {
        Course::new(Plan { seed, percent, faults: Fault::ALL.to_vec() })
    }

    fn lots(course: &mut Course, path: &str) -> Vec<Option<(Fault, u64)>> {
        (0..400).map(|_| course.next(Kind::Write, &Method::POST, path)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_whatever_else_is_asked_meanwhile() {
        let (mut alone, mut among) = (course(7, 20), course(7, 20));
        let expected = lots(&mut alone, "/a");
        let mut met = Vec::new();
        for number in 0..400 {
            met.push(among.next(Kind::Write, &Method::POST, "/a"));
            among.next(Kind::Watch, &Method::GET, &format!("/{number}"));
        }
        assert_eq!(met, expected);
        assert_ne!(lots(&mut course(8, 20), "/a"), expected, "another seed");
        assert_ne!(lots(&mut alone, "/b"), expected, "another path");
    }

    #[test]
    fn as_many_are_faulted_as_was_asked_for_and_only_with_what_can_befall_them() {
        for percent in [0, 5, 30, 100] {
            let faulted = lots(&mut course(1, percent), "/a").into_iter().flatten().collect::<Vec<_>>();
            let share = faulted.len() as f64 / 4.0;
            assert!((share - f64::from(percent)).abs() < 6.0, "{share} % instead of {percent} %");
            assert!(faulted.iter().all(|(fault, _)| !matches!(fault, Fault::Cut | Fault::Gone)));
        }
        let mut watches =
            Course::new(Plan { seed: 1, percent: 100, faults: vec![Fault::Conflict, Fault::Cut] });
        let lot = watches.next(Kind::Watch, &Method::GET, "/a").map(|(fault, _)| fault);
        assert_eq!(lot, Some(Fault::Cut));
        assert_eq!(watches.next(Kind::Read, &Method::GET, "/a"), None);
    }

    #[test]
    fn watches_are_told_from_lists() {
        assert_eq!(Kind::of(&Method::GET, "limit=500&watch=true"), Kind::Watch);
        assert_eq!(Kind::of(&Method::GET, "limit=500&watched=true"), Kind::Read);
        assert_eq!(Kind::of(&Method::PATCH, "fieldManager=x"), Kind::Write);
    }
}
