//! What tells a future's type to the await table.
//!
//! The debug information describes each vtable that is used, with the type that it is
//! of. So the address of `<F as TypeProbe>::{vtable}` names F, and is found by this
//! trait's name: the table looks for paths that end in `::TypeProbe`.
//!
//! The method's code differs from type to type, by its TypeId: no two vtables can be
//! merged as equal.

use std::any::{TypeId, type_name};

/// Has every future's type. Never called.
pub(crate) trait TypeProbe {
    /// Differs from type to type.
    #[expect(dead_code, reason = "its address in the vtable is what counts")]
    fn probe(&self) -> (TypeId, &'static str);
}

impl<F: 'static> TypeProbe for F {
    fn probe(&self) -> (TypeId, &'static str) {
        (TypeId::of::<F>(), type_name::<F>())
    }
}

/// The address of `<F as TypeProbe>`'s vtable.
pub(super) fn vtable<F: 'static>() -> u64 {
    let nothing = std::ptr::null::<F>() as *const dyn TypeProbe;
    const { assert!(size_of::<*const dyn TypeProbe>() == 16, "an address and a vtable's") };
    // SAFETY: two words, both initialised. Their order is checked below.
    let words: [u64; 2] = unsafe { std::mem::transmute(nothing) };
    // The data's address is null, so the other word is the vtable's.
    words[0] | words[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vtables_tell_types_apart() {
        struct One;
        struct Two;
        assert_eq!(vtable::<One>(), vtable::<One>());
        assert_ne!(vtable::<One>(), vtable::<Two>());
        // It is one: its second and third words are size and alignment.
        // SAFETY: a vtable holds at least three words and its method.
        let words = unsafe { *(vtable::<[u64; 5]>() as *const [u64; 4]) };
        assert_eq!(words[1..3], [40, 8]);
        assert_ne!(vtable::<One>(), 0);
    }

    #[test]
    fn the_trait_has_the_name_that_the_table_looks_for() {
        assert!(std::any::type_name::<dyn TypeProbe>().ends_with("::TypeProbe"));
    }
}
