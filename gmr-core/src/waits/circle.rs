//! Circles among threads that wait for each other.
//!
//! Each thread waits for one other at most, so from any thread there is one way:
//! it ends, meets a way that was gone before, or comes back to itself.
//!
//! 1. Marks say by which start a thread was first reached; 0 is not yet.
//! 2. From each thread that is not marked, the way is gone and marked, until a
//!    mark is met.
//! 3. If that mark is the start's own, the thread it was met at is on a circle.
//!
//! Each thread is marked once: the time is that of the number of threads.

/// Calls `each` with one thread of every circle. `next` is who is waited for;
/// `marks` has room for all threads.
pub(super) fn each(
    marks: &mut [u32],
    next: &dyn Fn(usize) -> Option<usize>,
    mut each: impl FnMut(usize),
) {
    marks.fill(0);
    for start in 0..marks.len() {
        let Ok(mark) = u32::try_from(start.saturating_add(1)) else { return };
        let mut at = start;
        loop {
            match marks.get_mut(at) {
                None => break,
                Some(place) if *place == 0 => *place = mark,
                Some(place) => {
                    if *place == mark {
                        each(at);
                    }
                    break;
                }
            }
            match next(at) {
                Some(other) => at = other,
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn circles(next: &[Option<usize>]) -> Vec<usize> {
        let mut found = Vec::new();
        each(&mut vec![7; next.len()], &|at| next[at], |at| found.push(at));
        found
    }

    #[test]
    fn chains_have_none() {
        assert!(circles(&[Some(1), Some(2), None, Some(1)]).is_empty());
        assert!(circles(&[]).is_empty());
        // Out of the list.
        assert!(circles(&[Some(9)]).is_empty());
    }

    #[test]
    fn circles_are_found_once_each() {
        assert_eq!(circles(&[Some(0)]), [0]);
        assert_eq!(circles(&[Some(1), Some(0)]), [0]);
        // A tail leads into one, another stands alone.
        assert_eq!(circles(&[Some(1), Some(2), Some(1), Some(3), None]), [1, 3]);
    }

    proptest! {
        #[test]
        fn they_are_those_of_a_plain_search(
            next in proptest::collection::vec(proptest::option::of(0_usize..12), 0..12),
        ) {
            let next: Vec<_> = next.iter().map(|it| it.filter(|it| *it < next.len())).collect();
            // On a circle is who comes back to itself.
            let way = |from: usize| {
                core::iter::successors(next[from], |at| next[*at]).take(next.len())
            };
            let on_circles: Vec<_> =
                (0..next.len()).filter(|from| way(*from).any(|at| at == *from)).collect();
            let expected: BTreeSet<BTreeSet<usize>> =
                on_circles.iter().map(|from| way(*from).collect()).collect();
            let found = circles(&next);
            prop_assert_eq!(found.len(), expected.len());
            for at in found {
                prop_assert!(expected.contains(&way(at).collect::<BTreeSet<_>>()));
            }
        }
    }
}
