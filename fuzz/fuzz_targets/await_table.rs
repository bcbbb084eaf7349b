//! Any bytes as an await table: whatever they say, reading them ends, and
//! nothing is read that is not there.

#![no_main]

use gmr_std::await_table::format::Kind;
use gmr_std::await_table::image::AwaitTable;
use libfuzzer_sys::fuzz_target;

/// Records of each kind that are looked at.
const MOST: u32 = 1000;

fuzz_target!(|data: &[u8]| {
    if let Ok(table) = AwaitTable::new(data) {
        read(&table);
    }
    read(&AwaitTable::unchecked(data));
});

fn read(table: &AwaitTable<'_>) {
    let mut bytes = table.notes().len() + table.build_id().len();
    for ty in (0..table.type_count().min(MOST)).filter_map(|index| table.ty(index)) {
        bytes += ty.name.len();
        let (first, count) = match ty.kind {
            Kind::Struct { first, count }
            | Kind::Coroutine { first, count, .. }
            | Kind::Enum { first, count, .. } => (first, count),
            _ => continue,
        };
        for index in (0..count.min(16)).map(|index| first.wrapping_add(index)) {
            std::hint::black_box(table.field(index));
            bytes += table.state(index).map_or(0, |state| state.file.len());
            bytes += table.variant(index).map_or(0, |variant| variant.name.len());
        }
    }
    for vtable in (0..table.vtable_count().min(MOST)).filter_map(|index| table.vtable(index)) {
        std::hint::black_box(table.type_of_vtable(vtable.svma));
    }
    for task in (0..table.task_count().min(MOST)).filter_map(|index| table.task(index)) {
        bytes += task.file.len();
        std::hint::black_box(table.scheduler(task.scheduler));
    }
    std::hint::black_box((bytes, table.entries(), table.scheduler_count()));
}
