//! What looks like a deadlock at a glance and is none.

use core::time::Duration;
use std::thread;

use crate::kit::{Mutex, Scene, until_in};

/// Four threads that take two locks in the same order, over and over; two that
/// hand two locks to each other in both orders, but hold only one at a time; and
/// a chain at whose end is a reader.
pub(crate) fn misses(scene: &mut Scene) {
    let (one, two) = (Mutex::plain(), Mutex::plain());
    for index in 0..4 {
        scene.thread(&format!("orderly-{index}"), move || {
            loop {
                one.lock();
                two.lock();
                thread::sleep(Duration::from_micros(300));
                two.unlock();
                one.unlock();
            }
        });
    }
    let (left, right) = (Mutex::plain(), Mutex::plain());
    for (name, first, second) in [("there", left, right), ("back", right, left)] {
        scene.thread(name, move || {
            loop {
                first.lock();
                thread::sleep(Duration::from_micros(200));
                first.unlock();
                second.lock();
                thread::sleep(Duration::from_micros(200));
                second.unlock();
            }
        });
    }
    let (lower, upper) = (Mutex::plain(), Mutex::plain());
    let end = scene.thread("end", move || {
        upper.lock();
        crate::kit::read_for_ever();
    });
    until_in(end, libc::SYS_read);
    let middle = scene.thread("middle", move || {
        lower.lock();
        upper.lock();
    });
    crate::kit::until_on_futex(middle);
    let first = scene.thread("first", move || {
        lower.lock();
    });
    crate::kit::until_on_futex(first);
}
