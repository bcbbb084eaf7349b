//! Twenty-five functions that call each other: none is inlined, none is a tail
//! call.

use std::hint::black_box;

macro_rules! chain {
    ($name:ident) => {
        #[inline(never)]
        fn $name(bottom: &dyn Fn()) -> u64 {
            black_box(bottom)();
            black_box(1)
        }
    };
    ($name:ident $next:ident $($rest:ident)*) => {
        #[inline(never)]
        fn $name(bottom: &dyn Fn()) -> u64 {
            black_box($next(black_box(bottom))).wrapping_add(1)
        }
        chain!($next $($rest)*);
    };
}

chain!(
    frame_a frame_b frame_c frame_d frame_e frame_f frame_g frame_h frame_i
    frame_j frame_k frame_l frame_m frame_n frame_o frame_p frame_q frame_r
    frame_s frame_t frame_u frame_v frame_w frame_x frame_y
);

/// Calls `bottom` from 25 frames deep.
pub(crate) fn descend(bottom: &dyn Fn()) {
    black_box(frame_a(bottom));
}

/// Never returns, whatever wakes the thread.
pub(crate) fn park() -> ! {
    loop {
        std::thread::park();
    }
}
