//! Source paths, as short as they stay clear.
//!
//! | in the debug information                              | shown                            |
//! |-------------------------------------------------------|----------------------------------|
//! | `/rustc/HASH/library/core/src/option.rs`              | `library/core/src/option.rs`     |
//! | `…/lib/rustlib/src/rust/library/core/src/option.rs`   | `library/core/src/option.rs`     |
//! | `/rust/deps/hashbrown-0.15.2/src/raw.rs`              | `hashbrown-0.15.2/src/raw.rs`    |
//! | `…/registry/src/INDEX/tokio-1.45.0/src/x.rs`          | `tokio-1.45.0/src/x.rs`          |
//! | `…/git/checkouts/NAME-HASH/REVISION/src/x.rs`         | `NAME/src/x.rs`                  |
//! | `src/x.rs`, compiled in `/w/NAME`                     | `NAME/src/x.rs`                  |
//! | `x.c`, compiled in `/w/NAME`                          | `NAME/x.c`                       |
//! | other files below the directory of compilation        | the path from there              |
//! | anything else                                         | as it is                         |
//!
//! The directory of compilation is the workspace's for its members, so their
//! paths are those that the compiler's messages show (`MEMBER/src/x.rs`). For
//! crates outside of the workspace it is the crate's own. All of those would be
//! `src/x.rs`: the directory's name tells them apart.

/// The longest path that is kept, in bytes. Longer ones lose their beginning.
pub(crate) const MAX_PATH_BYTES: usize = 256;

/// Stands for what a path has lost.
pub(super) const CUT_MARKER: &str = "...";

/// The file `name` of `directory`, both as the line table has them, of a unit
/// that was compiled in `comp_dir`. What is missing is empty.
pub(crate) fn shorten(comp_dir: &str, directory: &str, name: &str) -> String {
    let mut path = String::new();
    for part in [comp_dir, directory, name] {
        let part = if part == "." { "" } else { part.strip_prefix("./").unwrap_or(part) };
        if part.starts_with('/') {
            path.clear();
        }
        if !path.is_empty() && !path.ends_with('/') && !part.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    if let Some(rest) = known_root(&path) {
        return cut(rest);
    }
    if let Some((name, rest)) = checkout(&path) {
        return cut(&format!("{name}/{rest}"));
    }
    match below(&path, comp_dir) {
        Some(rest) if rest.starts_with("src/") || !rest.contains('/') => {
            let directory = comp_dir.trim_end_matches('/');
            let start = directory.rfind('/').map_or(0, |slash| slash + 1);
            match directory.get(start..) {
                None | Some("" | "." | "..") => cut(rest),
                Some(name) => cut(&format!("{name}/{rest}")),
            }
        }
        Some(rest) => cut(rest),
        None => cut(&path),
    }
}

/// The path from the root of a crate or of the standard library.
fn known_root(path: &str) -> Option<&str> {
    if let Some(rest) = path.strip_prefix("/rustc/") {
        return rest.split_once('/').map(|(_hash, rest)| rest);
    }
    if let Some((_, rest)) = path.split_once("/registry/src/") {
        return rest.split_once('/').map(|(_index, rest)| rest);
    }
    path.strip_prefix("/rust/deps/")
        .or_else(|| path.split_once("/lib/rustlib/src/rust/").map(|(_, rest)| rest))
}

/// The name of a crate that Cargo took from git, and the path below its root.
fn checkout(path: &str) -> Option<(&str, &str)> {
    let (_, rest) = path.split_once("/git/checkouts/")?;
    let (name, rest) = rest.split_once('/')?;
    let (name, _hash) = name.rsplit_once('-')?;
    let (_revision, rest) = rest.split_once('/')?;
    (!name.is_empty()).then_some((name, rest))
}

fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory.trim_end_matches('/'))?.strip_prefix('/')?;
    (!directory.is_empty() && !rest.is_empty()).then_some(rest)
}

fn cut(path: &str) -> String {
    if path.len() <= MAX_PATH_BYTES {
        return path.to_owned();
    }
    let mut start = path.len() - (MAX_PATH_BYTES - CUT_MARKER.len());
    while !path.is_char_boundary(start) {
        start += 1;
    }
    format!("{CUT_MARKER}{}", &path[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shortened() {
        let std = "library/core/src/option.rs";
        assert_eq!(shorten("/rustc/59807/", "library/core/src", "option.rs"), std);
        assert_eq!(shorten("/home/u/app", "/rustc/59807/library/core/src", "option.rs"), std);
        let installed = "/root/.rustup/toolchains/x/lib/rustlib/src/rust/library/core/src";
        assert_eq!(shorten("/home/u/app", installed, "option.rs"), std);
        assert_eq!(
            shorten("/rustc/59807", "/rust/deps/hashbrown-0.15.2/src", "raw.rs"),
            "hashbrown-0.15.2/src/raw.rs"
        );
        let registry = "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.45.0";
        assert_eq!(shorten(registry, "src/net", "tcp.rs"), "tokio-1.45.0/src/net/tcp.rs");
        let checkout = "/root/.cargo/git/checkouts/my-crate-0123456789abcdef/89abcde";
        assert_eq!(shorten(checkout, "src", "lib.rs"), "my-crate/src/lib.rs");
        assert_eq!(
            shorten("/w/app", &format!("{checkout}/sub/src"), "x.rs"),
            "my-crate/sub/src/x.rs"
        );
        assert_eq!(shorten("/w", "gmr-core/src", "on_demand.rs"), "gmr-core/src/on_demand.rs");
        assert_eq!(shorten("/w/gmr-core", "src", "on_demand.rs"), "gmr-core/src/on_demand.rs");
        assert_eq!(shorten("/w/app", "src/net", "tcp.rs"), "app/src/net/tcp.rs");
        assert_eq!(shorten("/w/app/", "/w/app/src", "main.rs"), "app/src/main.rs");
        assert_eq!(shorten("/w/app", "", "build.rs"), "app/build.rs");
        assert_eq!(shorten("app", "src", "main.rs"), "app/src/main.rs");
        assert_eq!(shorten("/w/app", "lib/net", "tcp.c"), "lib/net/tcp.c");
        assert_eq!(
            shorten("/w/app", "/w/application/src", "main.rs"),
            "/w/application/src/main.rs"
        );
        assert_eq!(shorten("/w/app", "/elsewhere", "main.c"), "/elsewhere/main.c");
        assert_eq!(shorten("/w/app", "/elsewhere", "/third/main.c"), "/third/main.c");
        assert_eq!(shorten("/w/app", ".", "./main.c"), "app/main.c");
        assert_eq!(shorten("", "", "main.c"), "main.c");
        assert_eq!(shorten("/", "usr", "main.c"), "usr/main.c");
        assert_eq!(shorten("/", "", "main.c"), "main.c");
        assert_eq!(shorten(".", "src", "main.rs"), "src/main.rs");
        assert_eq!(shorten("", "", ""), "");
    }

    #[test]
    fn long_paths_lose_their_beginning() {
        let long = shorten("", &"ä".repeat(300), "main.c");
        assert!(long.len() <= MAX_PATH_BYTES && long.len() > MAX_PATH_BYTES - 3);
        assert!(long.starts_with("...ä") && long.ends_with("/main.c"));
    }
}
