//! Memory for the time of a kernel. Each thread keeps what it once had: fresh memory costs a page fault every 4 KiB.

use crate::element::Element;

/// Bytes that a thread may keep in one piece.
const KEPT: usize = 64 << 20;

/// Bytes in a line of the caches, and in the longest register.
pub(super) const LINE: usize = 64;

/// Runs `work` with `len` numbers that hold anything and begin at a line of the cache.
pub(super) fn with<E: Element, T>(len: usize, work: impl FnOnce(&mut [E]) -> T) -> T {
    let most = len + LINE / size_of::<E>();
    // Calls nest, also by work that a waiting thread takes from another: so several pieces.
    let mut pieces = E::scratch().take();
    let mut piece = best(&pieces, most).map(|index| pieces.swap_remove(index)).unwrap_or_default();
    E::scratch().set(pieces);
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

/// The smallest piece that is long enough, or else the longest one: so that, from the second time on, the same calls
/// find all the pieces that they need.
fn best<E>(pieces: &[Vec<E>], len: usize) -> Option<usize> {
    let fit = |piece: &Vec<E>| match piece.len() >= len {
        true => (0, piece.len()),
        false => (1, usize::MAX - piece.len()),
    };
    (0..pieces.len()).min_by_key(|&index| fit(&pieces[index]))
}
