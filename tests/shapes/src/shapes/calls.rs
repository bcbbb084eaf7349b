//! Async functions that call each other: what most programs are made of.

use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::LONG;
use crate::parked::spawn;

/// What most of the others end in.
pub(super) async fn rest(number: u32) -> u32 {
    let kept = [number; 16];
    sleep(LONG).await; // @rest
    kept[number as usize % 16]
}

/// A second end, to tell branches apart.
pub(super) async fn notified(notify: Arc<Notify>) {
    notify.notified().await; // @notified
}

async fn outer(number: u32) -> u32 {
    let values = vec![number; 4];
    middle(number + 1).await + values[0] // @outer
}

async fn middle(number: u32) -> u32 {
    if number > 100 {
        tokio::task::yield_now().await;
    }
    let text = format!("x{number}");
    let length = inner(&text).await; // @middle
    length + u32::from(text.is_empty())
}

pub(super) async fn inner(text: &str) -> u32 {
    let kept = [1_u8; 32];
    let number = rest(1).await; // @inner
    number + u32::from(kept[text.len()])
}

async fn at_one_of_two(is_first: bool) {
    if is_first {
        sleep(LONG).await; // @two_first
    }
    sleep(LONG).await; // @two_second
}

async fn once(number: u32) -> u32 {
    tokio::task::yield_now().await;
    number
}

/// Both awaits are in one line: the first is over.
async fn in_one_line() -> u32 {
    once(1).await + rest(2).await // @one_line
}

async fn result() -> Result<u32, std::io::Error> {
    rest(3).await; // @result
    Ok(3)
}

async fn question() -> Result<u32, std::io::Error> {
    let number = once(5).await + result().await?; // @question
    Ok(number)
}

async fn over_lines(notify: Arc<Notify>) {
    let text = String::from("a text");
    black_box(
        inner(&text) // The line of the call is not that of the await.
            .await, // @over_lines
    );
    notified(notify).await;
}

async fn chained() -> u32 {
    made(1).await.remove(0).await // @chained
}

async fn made(number: u32) -> Vec<Pin<Box<dyn Future<Output = u32> + Send>>> {
    vec![Box::pin(rest(number))]
}

async fn scrutinee() {
    match result().await {
        // @scrutinee
        Ok(number) if number > 3 => drop(black_box(number)),
        _ => {}
    }
}

async fn guard(number: Option<u32>) -> u32 {
    match number {
        Some(number) if rest(number).await > 1 => 1, // @guard
        _ => 0,
    }
}

async fn in_loops() {
    for _outer in 0..3 {
        let mut left = 4;
        while left > 0 {
            left -= 1;
            if left == 2 {
                rest(left).await; // @loops
            } else {
                once(left).await;
            }
        }
    }
}

async fn in_blocks() -> u32 {
    let number = 'found: {
        {
            let kept = [1_u8; 9];
            if kept[2] == 1 {
                break 'found rest(u32::from(kept[3])).await; // @blocks
            }
        }
        0
    };
    once(number).await
}

async fn condition() {
    if let Some(number) = Some(1)
        && rest(number).await > 0
    // @condition
    {
        black_box(number);
    }
}

fn recursive(depth: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            return rest(0).await; // @recursion_end
        }
        recursive(depth - 1).await + 1 // @recursion
    })
}

async fn recursive_fn(depth: u32) {
    if depth == 0 {
        sleep(LONG).await; // @recursive_fn_end
    } else {
        Box::pin(recursive_fn(depth - 1)).await; // @recursive_fn
    }
}

/// More than tokio keeps in a task itself, and more than a page.
async fn large() -> usize {
    let kept = [7_u8; 80 * 1024];
    let number = rest(4).await; // @large
    black_box(&kept)[number as usize] as usize
}

async fn large_below() -> usize {
    let kept = [1_u8; 100];
    large().await + black_box(&kept).len() // @large_below
}

/// The two have the same code; only lines tell them apart.
async fn twin_first(notify: Arc<Notify>) {
    notified(notify).await; // @twin_first
}

async fn twin_second(notify: Arc<Notify>) {
    notified(notify).await; // @twin_second
}

async fn many_states(number: u32) -> u32 {
    let mut sum = 0;
    sum += once(number).await;
    sum += once(number + 1).await;
    sum += once(number + 2).await;
    sum += once(number + 3).await;
    sum += once(number + 4).await;
    sum += once(number + 5).await;
    sum += rest(sum).await; // @many_states
    sum += once(number + 6).await;
    sum += once(number + 7).await;
    sum
}

async fn nothing_kept() {
    std::future::pending::<()>().await; // @pending
}

pub(super) fn spawn_all() {
    let notify = Arc::new(Notify::new());
    spawn("calls", "outer > middle > inner > rest > ~Sleep", outer(1));
    spawn("first of two", "two_first > ~Sleep", at_one_of_two(true));
    spawn("second of two", "two_second > ~Sleep", at_one_of_two(false));
    spawn("two in one line", "one_line > rest > ~Sleep", in_one_line());
    spawn("question mark", "question > result > rest > ~Sleep", question());
    spawn("over lines", "over_lines > inner > rest > ~Sleep", over_lines(notify.clone()));
    spawn("chained awaits", "chained > rest > ~Sleep", chained());
    spawn("match scrutinee", "scrutinee > result > rest > ~Sleep", scrutinee());
    spawn("match guard", "guard > rest > ~Sleep", guard(Some(1)));
    spawn("loops", "loops > rest > ~Sleep", in_loops());
    spawn("blocks", "blocks > rest > ~Sleep", in_blocks());
    spawn("condition chain", "condition > rest > ~Sleep", condition());
    spawn(
        "recursion",
        "recursion > recursion > recursion > recursion_end > rest > ~Sleep",
        recursive(3),
    );
    spawn(
        "recursive fn",
        "recursive_fn > recursive_fn > recursive_fn_end > ~Sleep",
        recursive_fn(2),
    );
    let deep = "recursive_fn > ".repeat(20);
    spawn("deep recursion", &format!("{deep} recursive_fn_end > ~Sleep"), recursive_fn(20));
    spawn("large", "large > rest > ~Sleep", large());
    spawn("large, further down", "large_below > large > rest > ~Sleep", large_below());
    spawn("first twin", "twin_first > notified > ~Notified", twin_first(notify.clone()));
    spawn("second twin", "twin_second > notified > ~Notified", twin_second(notify));
    spawn("many states", "many_states > rest > ~Sleep", many_states(1));
    spawn("pending", "pending > ~Pending", nothing_kept());
    let block = async {
        rest(6).await; // @block
    };
    spawn("async block", "block > rest > ~Sleep", block);
    let text = String::from("captured");
    let block = async move {
        let nested = async {
            inner(&text).await // @nested_block
        };
        nested.await // @block_outer
    };
    spawn("nested blocks", "block_outer > nested_block > inner > rest > ~Sleep", block);
}
