//! Any memory, walked by any await table: it ends, within its bounds.
//!
//! The input is an image of a table, and behind it the memory, divided by four bytes
//! in front. Without a corpus most images have no type: the first byte may ask for one that
//! is made from the input instead, record by record, so that types lead to each
//! other.

#![no_main]

use gmr_std::await_table::format::{
    Field, Kind, State, StateKind, Type, Variant, Vtable, type_flag,
};
use gmr_std::await_table::image::{TextId, Writer};
use libfuzzer_sys::fuzz_target;

/// More take too long.
const MAX_BYTES: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    let Some((length, data)) = data.split_first_chunk::<2>() else { return };
    if data.len() > MAX_BYTES {
        return;
    }
    let (image, memory) = data.split_at(data.len().min(usize::from(u16::from_le_bytes(*length))));
    if how % 2 == 0 {
        gmr_tokio::fuzz_await_walk(image, memory);
    } else {
        gmr_tokio::fuzz_await_walk(&made(image), memory);
    }
});

/// An image with a record for each six bytes.
fn made(data: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    let name = writer.text("any");
    for record in data.chunks_exact(6) {
        let [what, a, b, c, d, flags] = *record else { continue };
        let tag_bytes = u32::from(d) % 10;
        let [a, b, c, d] = [a, b, c, d].map(u32::from);
        let flags = match flags % 4 {
            0 => type_flag::LEAF,
            1 => type_flag::TRANSPARENT,
            _ => 0,
        };
        let kind = match what % 15 {
            0 => Kind::Opaque,
            1 => Kind::Struct { first: a, count: b },
            2 => Kind::Coroutine { first: a, count: b, tag_offset: c, tag_bytes },
            3 => Kind::Enum { first: a, count: b, tag_offset: c, tag_bytes },
            4 => Kind::Pointer { to: a },
            5 => Kind::Dyn,
            6 => Kind::Slice { element: a },
            7 => Kind::Vec { element: a, pointer_offset: b, length_offset: c },
            8 => Kind::Array { element: a, count: b << 12 | c },
            9 => Kind::FuturesUnordered {
                future: a,
                future_offset: b,
                head_offset: c,
                next_offset: d,
            },
            10 => Kind::JoinHandle { header_offset: a },
            11 => {
                writer.field(&Field { offset: a, ty: b });
                continue;
            }
            12 => {
                let kind = match b % 8 {
                    0 => StateKind::Unresumed,
                    1 => StateKind::Returned,
                    2 => StateKind::Panicked,
                    _ => StateKind::Suspended,
                };
                let awaitee = (b & 8 == 0).then_some(Field { offset: c, ty: d });
                let is_in_macro = b & 16 != 0;
                writer.state(&State { value: a, kind, file: name, line: a, awaitee, is_in_macro });
                continue;
            }
            13 => {
                let value = (a != 255).then_some(u64::from(a));
                writer.variant(&Variant { value, first: b, count: c, name: TextId::EMPTY });
                continue;
            }
            _ => {
                writer.vtable(Vtable { svma: u64::from(a) * 0x0101_0101_0101_0101, ty: b });
                continue;
            }
        };
        writer.ty(&Type { name, size: d, kind, flags });
    }
    writer.finish(&[], "")
}
