//! y[n,i,j,f] = b[f] + Σ_{u,v,c} w[u,v,c,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]
//! x [N,H,W,C]  w [KH,KW,C/groups,F]  b [F]  →  y [N,OH,OW,F]

use crate::element::Element;
use crate::shape::Geometry2D;

/// The sizes of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conv2DShape {
    /// N
    pub batch: usize,
    pub geometry: Geometry2D,
    /// C
    pub c_in: usize,
    /// F
    pub c_out: usize,
    /// Input channels g·C/groups … and output channels g·F/groups … belong together.
    pub groups: usize,
}

/// Overwrites `y`.
pub(crate) fn forward<E: Element>(shape: &Conv2DShape, x: &[E], w: &[E], bias: Option<&[E]>, y: &mut [E]) {
    todo!("{shape:?} {} {} {:?} {}", x.len(), w.len(), bias.map(<[E]>::len), y.len())
}

/// dx[n,h,w,c] = Σ over the (i,u), (j,v) that meet h and w, and f, of w[u,v,c,f] · dy[n,i,j,f]. Overwrites `dx`.
pub(crate) fn input_gradient<E: Element>(shape: &Conv2DShape, dy: &[E], w: &[E], dx: &mut [E]) {
    todo!("{shape:?} {} {} {}", dy.len(), w.len(), dx.len())
}

/// dw[u,v,c,f] = Σ_{n,i,j} dy[n,i,j,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]. Overwrites `dw`.
pub(crate) fn weight_gradient<E: Element>(shape: &Conv2DShape, x: &[E], dy: &[E], dw: &mut [E]) {
    todo!("{shape:?} {} {} {}", x.len(), dy.len(), dw.len())
}
