//! Memory for the time of a kernel. Each thread keeps what it once had: fresh memory costs a page fault every 4 KiB.

use crate::element::Element;

/// Bytes that a thread may keep in one piece.
const KEPT: usize = 64 << 20;

/// Bytes in a line of the caches, and in the longest register.
const LINE: usize = 64;

/// Runs `work` with `len` numbers that hold anything and begin at a line of the cache.
pub(super) fn with<E: Element, T>(len: usize, work: impl FnOnce(&mut [E]) -> T) -> T {
    // Calls nest, also by work that a waiting thread takes from another: so a stack of pieces.
    let mut pieces = E::scratch().take();
    let mut piece = pieces.pop().unwrap_or_default();
    E::scratch().set(pieces);
    let most = len + LINE / size_of::<E>();
    if piece.len() < most {
        // Not `resize`: the old numbers need no copying.
        piece = vec![E::zero(); most];
    }
    let first = piece.as_ptr().align_offset(LINE).min(most - len);
    let result = work(&mut piece[first..first + len]);
    if size_of_val(piece.as_slice()) <= KEPT {
        let mut pieces = E::scratch().take();
        pieces.push(piece);
        E::scratch().set(pieces);
    }
    result
}
