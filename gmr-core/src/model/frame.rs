//! One frame of a stack.

/// How sure we are that a frame is really there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Certainty {
    /// The interrupted program counter itself, or found by the call frame
    /// information of the frame below.
    Exact,
    /// The frame below had no call frame information: found by following the
    /// frame pointer. Usually right, never certain.
    FramePointer,
    /// Read from the live stack of a thread that provably did not move.
    Inferred,
}

impl Certainty {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Certainty::Exact => "exact",
            Certainty::FramePointer => "frame_pointer",
            Certainty::Inferred => "inferred",
        }
    }
}

/// One frame, innermost first. What is not known is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame<'a> {
    /// Number within the stack, 0 for the innermost.
    pub index: u32,
    /// The program counter: of the interrupted instruction for the innermost
    /// frame and below a signal frame, else the return address.
    pub pc: u64,
    /// File name of the object (no directory) the pc lies in.
    pub module: Option<&'a [u8]>,
    /// The pc relative to the object's load bias: what `addr2line` and
    /// `objdump` call the address. Meaningful with `module` only.
    pub module_offset: u64,
    /// The function, demangled.
    pub function: Option<&'a str>,
    /// The function's name was cut.
    pub function_truncated: bool,
    /// The function was inlined into the frame above it.
    pub inlined: bool,
    /// Source file.
    pub file: Option<&'a [u8]>,
    /// Line in `file`, from 1.
    pub line: Option<u32>,
    /// How the frame was found.
    pub certainty: Certainty,
    /// The kernel's signal frame: the frames that follow were interrupted.
    pub is_signal_frame: bool,
}

/// The runtime's frames at the end of a stack, below the program's own: left
/// out, as they are the same in every thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntryFrames<'a> {
    /// How many (physical) frames are left out.
    pub count: u32,
    /// The last of them, with which the stack ends. Its index is that of the
    /// first frame that is left out.
    pub last: Frame<'a>,
}

impl Frame<'_> {
    /// A frame of which only the program counter is known.
    #[must_use]
    pub const fn bare(index: u32, pc: u64) -> Self {
        Frame {
            index,
            pc,
            module: None,
            module_offset: 0,
            function: None,
            function_truncated: false,
            inlined: false,
            file: None,
            line: None,
            certainty: Certainty::Exact,
            is_signal_frame: false,
        }
    }
}
