//! A bounded wait inside of an action, measured by the action's own clock.

use ocf_lib::resource::prelude::*;
use std::time::Duration;

/// Longer than any action.
const DAY: Duration = Duration::from_secs(86_400);

/// A span that ends at a point of the action's time.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// What is left of the action then.
    left_at_end: Duration,
}

impl Patience {
    /// `span` from now.
    pub fn of(cx: &Cx, span: Duration) -> Self {
        Self { left_at_end: cx.left_or(DAY).saturating_sub(span) }
    }

    /// `span` from now, but at most a third of what is left of the action.
    pub fn modest(cx: &Cx, span: Duration) -> Self {
        Self::of(cx, span.min(cx.left_or(DAY) / 3))
    }

    pub fn over(self, cx: &Cx) -> bool {
        cx.expired() || cx.left_or(DAY) <= self.left_at_end
    }

    /// What is left of it.
    pub fn left(self, cx: &Cx) -> Duration {
        cx.left_or(DAY).saturating_sub(self.left_at_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    #[test]
    fn it_ends_after_its_span_and_never_after_a_third_of_the_action() {
        let cx = Bench::new("Xen", Verb::Monitor).timeout_ms(30_000).into_cx();
        let (short, modest) = (Patience::of(&cx, Duration::from_secs(2)), Patience::modest(&cx, DAY));
        assert!(!short.over(&cx) && !modest.over(&cx));
        cx.sleep(Duration::from_secs(2));
        assert!(short.over(&cx) && !modest.over(&cx));
        assert_eq!(modest.left(&cx), Duration::from_secs(8));
        cx.sleep(Duration::from_secs(8));
        assert!(modest.over(&cx));
    }
}
