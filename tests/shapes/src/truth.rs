//! What is true of a task, written beside it.
//!
//! A tree is a text, in which a name is a mark: the comment `// @name` at the end
//! of the line with the `.await`, or by itself in the line below (where rustfmt
//! puts it after a brace).
//!
//! ```text
//! outer > inner > ~Sleep           outer awaits inner, which awaits a Sleep
//! all > [a > ~Sleep, b > ~Notified]  two branches, in this order
//! all > {a, b}                     two branches, in any order
//! served > [a > ~Sleep, %Socket]   beside a, something of a library may be there
//! all > a*3                        three equal branches
//! raw > ? inner > ~Sleep           what follows may be unknown, but not wrong
//! raw > ?                          nothing can be known of what follows
//! ```
//!
//! A mark's file and line come from the sources as they were compiled, the
//! function from the indentation above it: the nearest `fn` further left; of an
//! attribute that wraps a function, from the line below.

use serde::Serialize;

/// The sources, by the end of their path.
const SOURCES: &[(&str, &str)] = crate::shapes::SOURCES;

/// One node of a tree.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Node {
    /// An `.await` of ours.
    At { mark: String, file: &'static str, line: usize, function: String, below: Below },
    /// A future of a library: in its name, or in the name of one below it, is this.
    Leaf(String),
    /// A future of a library that may be there.
    MayBe(String),
    /// From here on nothing has to be known.
    Unknown(Below),
}

/// What a node awaits.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Below {
    pub(crate) in_any_order: bool,
    pub(crate) nodes: Vec<Node>,
}

/// Reads a tree.
///
/// # Panics
///
/// If it is malformed, or a mark is in no source or in two.
pub(crate) fn tree(text: &str) -> Below {
    let mut parser = Parser { rest: text };
    let below = parser.below();
    assert!(parser.rest.trim().is_empty(), "{text}: ends before {}", parser.rest);
    below
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn takes(&mut self, sign: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn word(&mut self) -> String {
        let text = self.rest.trim_start();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        assert!(!word.is_empty(), "a name is missing at: {text}");
        self.rest = rest;
        word.to_owned()
    }

    fn below(&mut self) -> Below {
        let close = if self.takes('[') {
            ']'
        } else if self.takes('{') {
            '}'
        } else {
            return Below { in_any_order: false, nodes: self.chain() };
        };
        let mut nodes = Vec::new();
        loop {
            nodes.extend(self.chain());
            if !self.takes(',') {
                break;
            }
        }
        assert!(self.takes(close), "{close} is missing at: {}", self.rest);
        Below { in_any_order: close == '}', nodes }
    }

    /// One node with what it awaits, as often as it says.
    fn chain(&mut self) -> Vec<Node> {
        if self.takes('?') {
            let ends = [']', '}', ','].iter().any(|&end| self.rest.trim_start().starts_with(end));
            let is_last = ends || self.rest.trim().is_empty();
            return vec![Node::Unknown(if is_last { Below::default() } else { self.below() })];
        }
        if self.takes('%') {
            return vec![Node::MayBe(self.word())];
        }
        if self.takes('~') {
            return vec![Node::Leaf(self.word())];
        }
        let mark = self.word();
        let count = if self.takes('*') { self.word().parse().expect("a count") } else { 1 };
        let below = if self.takes('>') { self.below() } else { Below::default() };
        let (file, line, function) = place(&mark);
        vec![Node::At { mark, file, line, function, below }; count]
    }
}

/// File, line and function of a mark.
fn place(mark: &str) -> (&'static str, usize, String) {
    let comment = &format!("// @{mark}");
    let mut found = SOURCES.iter().flat_map(|&(file, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| line.ends_with(comment));
        lines.map(move |(index, line)| {
            let is_alone = line.trim_start() == *comment;
            (file, text, index - usize::from(is_alone))
        })
    });
    let (file, text, index) = found.next().unwrap_or_else(|| panic!("no line is marked {mark}"));
    assert!(found.next().is_none(), "two lines are marked {mark}");
    let function = function(text, index).unwrap_or_else(|| panic!("{mark} is in no function"));
    (file, index + 1, function)
}

fn function(text: &str, index: usize) -> Option<String> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let name = |line: &str| {
        let (_, name) = line.split_once("fn ")?;
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        Some(name[..name.find(|c| !is_part(c))?].to_owned())
    };
    let lines: Vec<_> = text.lines().collect();
    if lines[index].starts_with("#[") {
        return name(lines[index + 1]);
    }
    let depth = indentation(lines[index]);
    let mut above = lines[..index].iter().rev().filter(|line| indentation(line) < depth);
    above.find_map(|line| name(line))
}
