//! Call frame information written by hand, for the tests of this directory.

use alloc::string::String;
use alloc::vec::Vec;

use framehop::{ExplicitModuleSectionInfo, Unwinder as _};

use super::rules::CallFrameInfo;
use super::unwind::{Framehop, Modules, Section};

pub(crate) const BIAS: u64 = 0x5555_0000_0000;
/// Where the functions begin in the file.
pub(crate) const CODE: u64 = 0x20_0000;
/// Each function's length.
pub(crate) const LENGTH: u64 = 16;
const HEADER: u64 = 0x2000;
const FRAMES: u64 = 0x10_0000;

/// A function by its call frame instructions, which come after those that
/// every x86-64 function begins with: CFA = rsp + 8, return address at CFA − 8.
pub(crate) enum Function<'a> {
    Plain(&'a [u8]),
    SignalFrame(&'a [u8]),
}

/// A module: functions one behind the other, each [`LENGTH`] bytes, and as much
/// code again that nothing covers.
pub(crate) struct Image {
    pub(crate) header: Vec<u8>,
    pub(crate) frames: Vec<u8>,
    /// The functions' code: what every address follows is a call, unless a
    /// test writes something else.
    pub(crate) code: Vec<u8>,
    /// Another one for another table.
    pub(crate) generation: u64,
    framehop: Framehop,
    end: u64,
}

/// Writes an entry's length once its end is known.
fn entry(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    while !out.len().is_multiple_of(8) {
        out.push(0);
    }
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_ne_bytes());
    at
}

impl Image {
    pub(crate) fn new(functions: &[Function<'_>]) -> Self {
        Self::of_lengths(functions, LENGTH)
    }

    /// Functions of `length` bytes each.
    pub(crate) fn of_lengths(functions: &[Function<'_>], length: u64) -> Self {
        let mut frames = Vec::new();
        let mut table = Vec::new();
        let mut code = CODE;
        for function in functions {
            let (augmentation, instructions) = match function {
                Function::Plain(instructions) => (&b"zR\0"[..], instructions),
                Function::SignalFrame(instructions) => (&b"zRS\0"[..], instructions),
            };
            let common = entry(&mut frames, |out| {
                out.extend_from_slice(&[0, 0, 0, 0, 1]);
                out.extend_from_slice(augmentation);
                // Alignments 1 and −8, return address in 16, pc-relative.
                out.extend_from_slice(&[1, 0x78, 16, 1, 0x1b]);
                out.extend_from_slice(&[0x0c, 7, 8, 0x90, 1]);
            });
            let description = entry(&mut frames, |out| {
                let back = (out.len() - common) as u32;
                out.extend_from_slice(&back.to_ne_bytes());
                let at = FRAMES + out.len() as u64;
                out.extend_from_slice(&(code.wrapping_sub(at) as i32).to_ne_bytes());
                out.extend_from_slice(&(length as u32).to_ne_bytes());
                out.push(0);
                out.extend_from_slice(instructions);
            });
            table.push((code, FRAMES + description as u64));
            code += length;
        }
        frames.extend_from_slice(&[0; 4]);
        let mut header = Vec::from([1, 0x1b, 0x03, 0x3b]);
        header.extend_from_slice(&(FRAMES.wrapping_sub(HEADER + 4) as i32).to_ne_bytes());
        header.extend_from_slice(&(table.len() as u32).to_ne_bytes());
        for (code, description) in table {
            header.extend_from_slice(&(code.wrapping_sub(HEADER) as i32).to_ne_bytes());
            header.extend_from_slice(&(description.wrapping_sub(HEADER) as i32).to_ne_bytes());
        }
        let end = code + (code - CODE);
        let section = |bytes: &[u8]| Section::Copied(bytes.into());
        let mut framehop = Framehop::new();
        framehop.add_module(framehop::Module::new(
            String::new(),
            BIAS..BIAS + end,
            BIAS,
            ExplicitModuleSectionInfo {
                base_svma: 0,
                eh_frame_hdr_svma: Some(HEADER..HEADER + header.len() as u64),
                eh_frame_hdr: Some(section(&header)),
                eh_frame_svma: Some(FRAMES..FRAMES + frames.len() as u64),
                eh_frame: Some(section(&frames)),
                ..Default::default()
            },
        ));
        // Whatever follows five of these follows `e8 rel32`.
        let code = alloc::vec![0xe8; (end - CODE) as usize];
        Image { header, frames, code, generation: 1, framehop, end }
    }

    pub(crate) fn info(&self) -> CallFrameInfo<'_> {
        CallFrameInfo {
            header: &self.header,
            header_svma: HEADER,
            frames: &self.frames,
            frames_svma: FRAMES,
        }
    }

    /// Address in memory of a byte of a function.
    pub(crate) fn at(function: u64, byte: u64) -> u64 {
        BIAS + CODE + function * LENGTH + byte
    }
}

impl Modules for Image {
    fn framehop(&self) -> &Framehop {
        &self.framehop
    }

    fn lookup(&self, address: u64) -> Option<(u64, Option<CallFrameInfo<'_>>)> {
        (BIAS..BIAS + self.end).contains(&address).then(|| (BIAS, Some(self.info())))
    }

    fn code(&self, address: u64, into: &mut [u8]) -> usize {
        let from = address.checked_sub(BIAS + CODE).and_then(|from| usize::try_from(from).ok());
        let bytes = from.and_then(|from| self.code.get(from..)).unwrap_or_default();
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        count
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}
