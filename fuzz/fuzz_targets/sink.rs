//! The sink over a destination that misbehaves in every way: each byte comes
//! out in order or is counted as lost, pieces end at line ends wherever the
//! text lets them, and the sink always comes to an end.

#![no_main]

use arbitrary::Arbitrary;
use gmr_core::sink::{Channel, Refusal, Sink};
use libfuzzer_sys::fuzz_target;
use ufmt::uWrite;

#[derive(Debug, Arbitrary)]
enum Answer {
    Whole,
    Part(u8),
    Full,
    Gone,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Write(&'a str),
    Flush,
    FlushEverything,
    LastWords,
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    piece: u8,
    capacity: u8,
    patience: u8,
    answers: Vec<Answer>,
    steps: Vec<Step<'a>>,
}

struct Scripted<'a> {
    piece: usize,
    answers: &'a mut dyn Iterator<Item = Answer>,
    patience: u8,
    calls: usize,
    /// Offered and what was taken of it.
    pieces: Vec<(Vec<u8>, usize)>,
}

impl Channel for Scripted<'_> {
    fn piece_bytes(&self) -> usize {
        self.piece
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        assert!(!bytes.is_empty() && bytes.len() <= self.piece.max(1));
        self.calls += 1;
        let count = match self.answers.next().unwrap_or(Answer::Whole) {
            Answer::Whole => bytes.len(),
            Answer::Part(most) => bytes.len().min(usize::from(most)),
            Answer::Full => return Err(Refusal::WouldBlock),
            Answer::Gone => return Err(Refusal::Gone),
        };
        self.pieces.push((bytes.to_vec(), count));
        Ok(count)
    }

    fn wait(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience > 0
    }
}

fuzz_target!(|input: Input<'_>| {
    let Input { piece, capacity, patience, answers, steps } = input;
    let (piece, patience) = (usize::from(piece), patience & 31);
    let mut answers = answers.into_iter();
    let channel = Scripted { piece, answers: &mut answers, patience, calls: 0, pieces: Vec::new() };
    let mut buffer = vec![0; usize::from(capacity)];
    let mut sink = Sink::new(channel, &mut buffer);
    let mut text = Vec::new();
    // A flush of everything and a full buffer may cut a line; nothing else may.
    let mut may_cut = capacity == 0;
    for step in &steps {
        match step {
            Step::Write(words) => {
                text.extend_from_slice(words.as_bytes());
                sink.write_str(words).unwrap();
            }
            Step::Flush => sink.flush(false),
            Step::FlushEverything => {
                may_cut = true;
                sink.flush(true);
            }
            // For the end of a report; what it says is no byte of the text.
            Step::LastWords => break,
        }
        assert_eq!(sink.total_bytes(), text.len() as u64);
    }
    sink.flush(true);
    let (written, lost) = (sink.written_bytes(), sink.lost_bytes());
    assert_eq!(written + lost, text.len() as u64);

    let channel = sink.channel();
    let pieces = core::mem::take(&mut channel.pieces);
    // Each call takes a byte, or costs patience.
    assert!(channel.calls <= text.len() + usize::from(patience.max(1)) + 1);
    let taken: Vec<u8> =
        pieces.iter().flat_map(|(piece, count)| &piece[..*count]).copied().collect();
    assert_eq!(taken.len() as u64, written);
    assert!(text.starts_with(&taken));

    // A piece that holds a line end ends with one; one that does not is a line
    // longer than a piece or than the buffer, or the last one.
    let longest = text.split(|&byte| byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
    let fits = longest < piece.max(1).min(usize::from(capacity));
    let mut whole_lines = pieces.as_slice();
    if let [rest @ .., last] = whole_lines
        && !last.0.ends_with(b"\n")
    {
        whole_lines = rest;
    }
    for (offered, _) in &pieces {
        assert!(offered.ends_with(b"\n") || !offered.contains(&b'\n'));
    }
    if fits && !may_cut {
        // Short takes leave an unfinished line at the front; it is finished by
        // the next pieces, each of which ends where the line does.
        let last_is_loose = !text.ends_with(b"\n");
        for (offered, _) in whole_lines {
            assert!(offered.ends_with(b"\n") || last_is_loose, "{offered:?}");
        }
    }

    if steps.iter().any(|step| matches!(step, Step::LastWords)) {
        let before = sink.channel().calls;
        sink.last_words("the end\n".get(..piece.clamp(1, 8)).unwrap());
        assert!(sink.channel().calls <= before + 1);
        assert_eq!(sink.channel().calls > before, lost > 0);
    }
});
