//! The sink: a fixed buffer in front of a destination that may be slow, full
//! or gone.
//!
//! 1. Views write text; the buffer collects it.
//! 2. When it is full, whole lines go out, at most [`Channel::piece_bytes`] at a
//!    time (PIPE_BUF on pipes): a foreign log line may stand between ours,
//!    never inside one. A line longer than a piece is cut.
//! 3. If the destination does not take a piece, the sink waits for it until
//!    the deadline, then drops everything that follows and counts it.
//!
//! The sink is generic over [`Channel`], so that a fuzzer can drive it with a
//! destination that misbehaves in every way.

use core::convert::Infallible;

use ufmt::uWrite;

#[cfg(gmr_engine)]
pub(crate) mod destination;

/// Why a channel took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum Refusal {
    /// Full for now.
    WouldBlock,
    /// Broken for good.
    Gone,
}

/// A destination's non-blocking side.
#[doc(hidden)]
pub trait Channel {
    /// Most bytes to hand over at once.
    fn piece_bytes(&self) -> usize;

    /// Takes a prefix of `bytes` (not empty) without blocking.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Refusal>;

    /// Waits until it may take more. `false`: the deadline has passed or the
    /// report is no longer ours.
    fn wait(&mut self) -> bool;
}

/// The buffer. See the module's page.
#[derive(Debug)]
#[doc(hidden)]
pub struct Sink<'b, C> {
    channel: C,
    buffer: &'b mut [u8],
    used: usize,
    written_bytes: u64,
    lost_bytes: u64,
    closed: bool,
}

impl<'b, C: Channel> Sink<'b, C> {
    /// A sink over `buffer`, which must not be empty.
    pub fn new(channel: C, buffer: &'b mut [u8]) -> Self {
        Sink { channel, buffer, used: 0, written_bytes: 0, lost_bytes: 0, closed: false }
    }

    /// Bytes the destination took.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Bytes written to the sink so far: taken, waiting or dropped.
    pub fn total_bytes(&self) -> u64 {
        self.written_bytes.saturating_add(self.used as u64).saturating_add(self.lost_bytes)
    }

    /// Bytes that were dropped.
    pub fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    /// The channel.
    pub fn channel(&mut self) -> &mut C {
        &mut self.channel
    }

    /// Sends all whole lines; with `everything`, also a last unfinished one.
    pub fn flush(&mut self, everything: bool) {
        let mut sent = 0_usize;
        while let Some(rest) = self.buffer.get(sent..self.used).filter(|rest| !rest.is_empty()) {
            if self.closed {
                self.lost_bytes = self.lost_bytes.saturating_add(rest.len() as u64);
                sent = self.used;
                break;
            }
            let most = rest.len().min(self.channel.piece_bytes().max(1));
            let piece = rest.get(..most).unwrap_or(rest);
            let lines =
                piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
            let full = sent == 0 && self.used == self.buffer.len();
            let take = if lines > 0 {
                lines
            } else if everything || most < rest.len() || full {
                most
            } else {
                // An unfinished line: it waits for its end.
                break;
            };
            match self.channel.write(piece.get(..take).unwrap_or(piece)) {
                Ok(count) => {
                    let count = count.min(take);
                    sent = sent.saturating_add(count);
                    self.written_bytes = self.written_bytes.saturating_add(count as u64);
                    if count == 0 && !self.channel.wait() {
                        self.closed = true;
                    }
                }
                Err(Refusal::WouldBlock) => {
                    if !self.channel.wait() {
                        self.closed = true;
                    }
                }
                Err(Refusal::Gone) => self.closed = true,
            }
        }
        self.buffer.copy_within(sent..self.used, 0);
        self.used = self.used.saturating_sub(sent);
    }

    /// After a loss: one attempt, without waiting, to say so.
    pub fn last_words(&mut self, words: &str) {
        if self.lost_bytes > 0 {
            self.used = 0;
            if let Ok(count) = self.channel.write(words.as_bytes()) {
                self.written_bytes = self.written_bytes.saturating_add(count as u64);
            }
        }
    }
}

impl<C: Channel> uWrite for Sink<'_, C> {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.closed {
                self.lost_bytes = self.lost_bytes.saturating_add(rest.len() as u64);
                return Ok(());
            }
            let room = self.buffer.get_mut(self.used..).unwrap_or_default();
            let take = room.len().min(rest.len());
            if take == 0 {
                if self.buffer.is_empty() {
                    self.closed = true;
                }
                self.flush(false);
                continue;
            }
            let (now, later) = rest.split_at(take);
            for (slot, byte) in room.iter_mut().zip(now) {
                *slot = *byte;
            }
            self.used = self.used.saturating_add(take);
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    /// Takes what its script says.
    struct Scripted {
        piece: usize,
        script: Vec<u8>,
        step: usize,
        patience: u32,
        taken: Vec<Vec<u8>>,
    }

    impl Channel for &mut Scripted {
        fn piece_bytes(&self) -> usize {
            self.piece
        }

        fn write(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
            assert!(!bytes.is_empty() && bytes.len() <= self.piece);
            let action = self.script.get(self.step).copied().unwrap_or(255);
            self.step += 1;
            let count = match action {
                0 => return Err(Refusal::WouldBlock),
                1 => return Err(Refusal::Gone),
                2..=100 => bytes.len().min(usize::from(action)),
                _ => bytes.len(),
            };
            self.taken.push(bytes[..count].to_vec());
            Ok(count)
        }

        fn wait(&mut self) -> bool {
            self.patience = self.patience.saturating_sub(1);
            self.patience > 0
        }
    }

    fn scripted(piece: usize, script: Vec<u8>) -> Scripted {
        Scripted { piece, script, step: 0, patience: 20, taken: Vec::new() }
    }

    #[test]
    fn pieces_end_at_line_ends() {
        let mut channel = scripted(16, Vec::new());
        let mut buffer = [0; 32];
        let mut sink = Sink::new(&mut channel, &mut buffer);
        for _ in 0..10 {
            sink.write_str("six by\n").unwrap();
        }
        sink.write_str("unfinished").unwrap();
        sink.flush(true);
        assert_eq!(sink.written_bytes(), 80);
        let (last, whole) = channel.taken.split_last().unwrap();
        assert!(whole.iter().all(|piece| piece.ends_with(b"\n")));
        assert_eq!(last, b"unfinished");
    }

    #[test]
    fn a_full_destination_costs_its_deadline_once_and_is_told_at_the_end() {
        let mut channel = scripted(8, std::vec![0; 19]);
        channel.patience = 3;
        let mut buffer = [0; 16];
        let mut sink = Sink::new(&mut channel, &mut buffer);
        for _ in 0..100 {
            sink.write_str("line\n").unwrap();
        }
        sink.flush(true);
        assert_eq!((sink.written_bytes(), sink.lost_bytes()), (0, 500));
        sink.channel().step = 100;
        sink.last_words("the end\n");
        assert_eq!(channel.patience, 0);
        assert_eq!(channel.taken.concat(), b"the end\n");
    }

    proptest! {
        #[test]
        fn every_byte_is_written_in_order_or_counted_as_lost(
            piece in 1_usize..64,
            capacity in 1_usize..200,
            script in proptest::collection::vec(any::<u8>(), 0..60),
            words in proptest::collection::vec("[a-c\n]{0,30}", 0..20),
        ) {
            let mut channel = scripted(piece, script);
            let mut buffer = std::vec![0; capacity];
            let text: String = words.concat();
            let mut sink = Sink::new(&mut channel, &mut buffer);
            for word in &words {
                sink.write_str(word).unwrap();
            }
            sink.flush(true);
            let (written, lost) = (sink.written_bytes(), sink.lost_bytes());
            let taken = channel.taken.concat();
            prop_assert_eq!(written as usize, taken.len());
            prop_assert_eq!(written + lost, text.len() as u64);
            prop_assert!(text.as_bytes().starts_with(&taken));
        }
    }
}
