//! The threads of this process, without allocating: getdents64(2) on /proc/self/task.

/// Room for some dozens of entries at a time.
const BUFFER_BYTES: usize = 4096;

/// Where in an entry its length and its name are (`struct linux_dirent64`).
const LENGTH_OFFSET: usize = 16;
const NAME_OFFSET: usize = 19;

/// Calls `each` with the id of every thread.
pub(super) fn threads(each: &mut dyn FnMut(u32)) {
    const FLAGS: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a path that ends in a NUL.
    let fd = unsafe { libc::open(c"/proc/self/task".as_ptr(), FLAGS) };
    if fd < 0 {
        return;
    }
    let mut buffer = [0_u8; BUFFER_BYTES];
    loop {
        // SAFETY: the kernel writes at most as many bytes as there are.
        let read =
            unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), BUFFER_BYTES) };
        let read = usize::try_from(read).unwrap_or(0);
        let Some(entries) = buffer.get(..read).filter(|entries| !entries.is_empty()) else { break };
        tids(entries, each);
    }
    // SAFETY: opened above, closed once.
    unsafe { libc::close(fd) };
}

fn tids(mut entries: &[u8], each: &mut dyn FnMut(u32)) {
    while let Some(length) = entries.get(LENGTH_OFFSET..LENGTH_OFFSET + 2) {
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let Some(entry) = entries.get(..length).filter(|_| length > NAME_OFFSET) else { return };
        let name = entry.get(NAME_OFFSET..).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let tid = core::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        if let Some(tid) = tid {
            each(tid);
        }
        entries = entries.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use gmr_core::hosted::wait;

    use super::*;

    #[test]
    fn every_thread_is_listed_once() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (done, until) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            sender.send(wait::gettid()).unwrap();
            let _ = until.recv();
        });
        let other_tid = receiver.recv().unwrap();
        let mut all = Vec::new();
        threads(&mut |tid| all.push(tid));
        drop(done);
        other.join().unwrap();
        for tid in [wait::gettid(), other_tid] {
            assert_eq!(all.iter().filter(|other| **other == tid).count(), 1, "{all:?}");
        }
    }

    #[test]
    fn entries_that_make_no_sense_end_the_list() {
        let mut entry = [0_u8; 24];
        entry[LENGTH_OFFSET] = 24;
        entry[NAME_OFFSET..NAME_OFFSET + 2].copy_from_slice(b"42");
        let mut all = Vec::new();
        tids(&[entry, [0; 24]].concat(), &mut |tid| all.push(tid));
        tids(&[entry, [255; 24]].concat(), &mut |tid| all.push(tid));
        tids(&entry[..20], &mut |tid| all.push(tid));
        assert_eq!(all, [42, 42]);
    }
}
