//! A module made of any call frame information and any code, for the unwinders.

use framehop::{ExplicitModuleSectionInfo, Unwinder};
use gmr_core::stacks::rules::CallFrameInfo;
use gmr_core::stacks::unwind::{Framehop, Modules, Section};

use crate::cfi::Image;

pub const BIAS: u64 = 0x5555_0000_0000;
pub const HEADER_SVMA: u64 = 0x2000;
pub const FRAMES_SVMA: u64 = 0x10_0000;
pub const CODE_SVMA: u64 = 0x20_0000;

/// Frames that a walk may take.
pub const MAX_FRAMES: usize = 64;
/// Words of the stack that it walks.
pub const MAX_STACK_WORDS: usize = 512;

/// The only module there is.
pub struct FakeModule {
    framehop: Framehop,
    header: Section,
    frames: Section,
    code_bytes: u64,
    readable: Vec<u8>,
}

impl FakeModule {
    /// One with so much code, of which the first bytes can be read.
    pub fn new(image: Image, code_bytes: u64, readable: Vec<u8>) -> Self {
        let header = Section::Copied(image.header.into());
        let frames = Section::Copied(image.frames.into());
        let range = |start: u64, section: &Section| start..start + section.len() as u64;
        let mut framehop = Framehop::new();
        framehop.add_module(framehop::Module::new(
            String::new(),
            BIAS..BIAS + CODE_SVMA + code_bytes,
            BIAS,
            ExplicitModuleSectionInfo {
                base_svma: 0,
                eh_frame_hdr_svma: Some(range(HEADER_SVMA, &header)),
                eh_frame_hdr: Some(header.clone()),
                eh_frame_svma: Some(range(FRAMES_SVMA, &frames)),
                eh_frame: Some(frames.clone()),
                ..Default::default()
            },
        ));
        FakeModule { framehop, header, frames, code_bytes, readable }
    }
}

impl Modules for FakeModule {
    fn framehop(&self) -> &Framehop {
        &self.framehop
    }

    fn lookup(&self, address: u64) -> Option<(u64, Option<CallFrameInfo<'_>>)> {
        let info = CallFrameInfo {
            header: &self.header,
            header_svma: HEADER_SVMA,
            frames: &self.frames,
            frames_svma: FRAMES_SVMA,
        };
        let end = BIAS + CODE_SVMA + self.code_bytes;
        (BIAS..end).contains(&address).then_some((BIAS, Some(info)))
    }

    fn generation(&self) -> u64 {
        1
    }

    fn code(&self, address: u64, into: &mut [u8]) -> usize {
        let from =
            address.checked_sub(BIAS + CODE_SVMA).and_then(|from| usize::try_from(from).ok());
        let bytes = from.and_then(|from| self.readable.get(from..)).unwrap_or_default();
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        count
    }
}
