//! The trees of an [`await_tree::Registry`], as a section.
//!
//! Limits: [`MAX_TREES`] trees. Reading takes each tree's lock for a moment, and the
//! program pays for keeping the trees, as it does without reports.

use std::fmt::Write as _;

use ::await_tree::Registry;

/// Trees that are shown.
pub const MAX_TREES: usize = 1_000;

/// A section with the trees of a registry, in the order of their keys: the spans
/// that the program itself has put around its futures (`instrument_await`), with how long
/// each has been there.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = await_tree::Registry::new(await_tree::Config::default());
/// let reports = gmr_std::setup_autorun(gmr_std::package!()).install()?;
/// reports.register_section("Await Trees", gmr_tokio::adapters::await_tree::section(&registry))?;
/// # Ok(())
/// # }
/// ```
pub fn section(registry: &Registry) -> impl FnMut() -> String + Send + 'static {
    let registry = registry.clone();
    move || text(&registry)
}

fn text(registry: &Registry) -> String {
    let mut trees: Vec<_> =
        registry.collect_all().into_iter().map(|(key, tree)| (key.to_string(), tree)).collect();
    trees.sort_by(|one, other| one.0.cmp(&other.0));
    let mut text = format!("trees = {}\n", trees.len());
    // Writing into a String does not fail.
    for (key, tree) in trees.iter().take(MAX_TREES) {
        let _ = write!(text, "\n{key}:\n");
        for line in tree.to_string().lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    if let Some(left_out) = trees.len().checked_sub(MAX_TREES).filter(|count| *count > 0) {
        let _ = write!(text, "\n{left_out} trees left out\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::future::{Future, pending};
    use std::task::{Context, Waker};

    use ::await_tree::{Config, InstrumentAwait};

    use super::*;

    #[test]
    fn every_tree_by_its_key() {
        let registry = Registry::new(Config::default());
        let mut section = section(&registry);
        assert_eq!(section(), "trees = 0\n");
        let mut futures: Vec<_> = ["two", "one"]
            .into_iter()
            .map(|key| {
                let future = pending::<()>().instrument_await(format!("waits in {key}"));
                Box::pin(
                    registry.register(key.to_owned(), format!("root of {key}")).instrument(future),
                )
            })
            .collect();
        for future in &mut futures {
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let text = section();
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        assert!(text.starts_with("trees = 2\n"), "{text}");
        assert!(place("one:\n") < place("  root of one") && place("root of one") < place("two:"));
        assert!(place("root of two") < place("waits in two"));
    }

    #[test]
    fn what_is_left_out_is_said() {
        let registry = Registry::new(Config::default());
        let _roots: Vec<_> =
            (0..MAX_TREES + 2).map(|key| registry.register(key.to_string(), "root")).collect();
        let text = text(&registry);
        assert!(text.ends_with("\n2 trees left out\n"), "{}", &text[text.len() - 80..]);
        assert_eq!(text.matches("root [").count(), MAX_TREES);
    }
}
