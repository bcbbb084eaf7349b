//! Redaction on arbitrary bytes: it ends, it changes nothing but what it masks,
//! and a canary that a key or a URL gives away never comes out.

#![no_main]

use gmr_core::redact::{self, Pattern, Redaction};
use libfuzzer_sys::fuzz_target;

/// What a program may add.
static POLICY: Redaction = Redaction::new()
    .secret_keys(&["*_pin", "a*b*c", "*"])
    .public_keys(&["token*", "*x*"])
    .patterns(&[Pattern::prefixed("acme_", 4), Pattern::prefixed("\u{e9}", 1)]);

const CANARY: &[u8] = b"cAnArY123";

fn redacted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let masked = redact::argument(text, |piece| out.extend_from_slice(piece));
    assert!(masked || out == text);
    out
}

fn sings(text: &[u8]) -> bool {
    text.windows(CANARY.len()).any(|window| window == CANARY)
}

fuzz_target!(|data: &[u8]| {
    let _text = redacted(data);
    let _option = (redact::takes_secret(data), redact::is_value(data));
    if let Ok(key) = core::str::from_utf8(data) {
        let _secret = (redact::is_secret_key(key), redact::is_secret_group(key));
    }
    for policy in [&Redaction::new(), &POLICY] {
        let mut done = None;
        policy.secret_ranges(data, &mut |range| {
            assert!(range.start < range.end && range.end <= data.len());
            assert!(done.is_none_or(|done| done < range.start));
            done = Some(range.end);
        });
        if let Ok(text) = core::str::from_utf8(data) {
            let _secret = (policy.is_secret_key(text), policy.is_secret_group(text));
            policy.secret_ranges(data, &mut |range| assert!(!text[range].is_empty()));
        }
    }
    let _ends = (redact::ends_in_private_key(data), redact::private_key_end(data));
    let token = [data, b" ghp_", CANARY, &[b'a'; 30]].concat();
    assert!(!sings(&redacted(&token)) || sings(data));
    if sings(data) {
        return;
    }
    let whole = [b"--db-password=", data, CANARY, data].concat();
    assert!(!sings(&redacted(&whole)));
    let inner = [data, b" password=", CANARY].concat();
    assert!(!sings(&redacted(&inner)));
    let url = [data, b" redis://:", CANARY, b"@host/"].concat();
    assert!(!sings(&redacted(&url)));
});
