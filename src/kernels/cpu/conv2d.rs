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
    shape.check(x, w, y);
    match bias {
        Some(bias) => y.chunks_exact_mut(shape.c_out).for_each(|y| y.copy_from_slice(bias)),
        None => y.fill(E::zero()),
    }
    shape.each_product(|at, x_at, w_at, f| {
        y[at..at + f].iter_mut().zip(&w[w_at..]).for_each(|(y, &w)| *y += x[x_at] * w);
    });
}

/// dx[n,h,w,c] = Σ over the (i,u), (j,v) that meet h and w, and f, of w[u,v,c,f] · dy[n,i,j,f]. Overwrites `dx`.
pub(crate) fn input_gradient<E: Element>(shape: &Conv2DShape, dy: &[E], w: &[E], dx: &mut [E]) {
    shape.check(dx, w, dy);
    dx.fill(E::zero());
    shape.each_product(|y_at, at, w_at, f| {
        let product = dy[y_at..y_at + f].iter().zip(&w[w_at..]).map(|(&dy, &w)| dy * w).sum::<E>();
        dx[at] += product;
    });
}

/// dw[u,v,c,f] = Σ_{n,i,j} dy[n,i,j,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]. Overwrites `dw`.
pub(crate) fn weight_gradient<E: Element>(shape: &Conv2DShape, x: &[E], dy: &[E], dw: &mut [E]) {
    shape.check(x, dw, dy);
    dw.fill(E::zero());
    shape.each_product(|y_at, x_at, at, f| {
        dw[at..at + f].iter_mut().zip(&dy[y_at..]).for_each(|(dw, &dy)| *dw += x[x_at] * dy);
    });
}

impl Conv2DShape {
    fn check<E>(&self, x: &[E], w: &[E], y: &[E]) {
        let [h, width] = self.geometry.input;
        assert!(self.c_in.is_multiple_of(self.groups) && self.c_out.is_multiple_of(self.groups));
        assert_eq!(x.len(), self.batch * h * width * self.c_in);
        assert_eq!(w.len(), self.geometry.taps() * self.c_in / self.groups * self.c_out);
        assert_eq!(y.len(), self.batch * self.geometry.pixels() * self.c_out);
    }

    /// `meet(y, x, w, f)`: the offsets of f numbers of y and of w that one number of x is multiplied with.
    fn each_product(&self, mut meet: impl FnMut(usize, usize, usize, usize)) {
        let Self { batch, geometry, c_in, c_out, groups } = *self;
        let ([h, w], [oh, ow], [kh, kw]) = (geometry.input, geometry.output, geometry.kernel);
        let (c_group, f_group) = (c_in / groups, c_out / groups);
        for (n, i, j) in (0..batch).flat_map(|n| (0..oh).flat_map(move |i| (0..ow).map(move |j| (n, i, j)))) {
            for (u, v) in (0..kh).flat_map(|u| (0..kw).map(move |v| (u, v))) {
                let (Some(row), Some(column)) = (geometry.meets(0, i, u), geometry.meets(1, j, v)) else { continue };
                for c in 0..c_in {
                    let f = c / c_group * f_group;
                    let y = ((n * oh + i) * ow + j) * c_out + f;
                    let x = ((n * h + row) * w + column) * c_in + c;
                    meet(y, x, ((u * kw + v) * c_group + c % c_group) * c_out + f, f_group);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::*;
    use crate::random::Key;
    use crate::shape::{Padding, Window2D};

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let mut random = Key::new(1).named("conv2d").stream();
        for round in 0..200 {
            let groups = 1 + random.below(3);
            let window = Window2D {
                kernel: [1 + random.below(3), 1 + random.below(3)],
                stride: [1 + random.below(3), 1 + random.below(3)],
                dilation: [1 + random.below(2), 1 + random.below(2)],
                padding: [Padding::Valid, Padding::Same, Padding::all(1)][random.below(3)],
                ceil_mode: false,
            };
            let geometry = window.over("conv2d", [5 + random.below(4), 5 + random.below(4)]).unwrap();
            let [c_in, c_out] = [groups * (1 + random.below(3)), groups * (1 + random.below(4))];
            let shape = Conv2DShape { batch: round % 3, geometry, c_in, c_out, groups };
            let [x, w, y, bias] =
                [naive::conv2d_sizes(&shape)[0], naive::conv2d_sizes(&shape)[1], naive::conv2d_sizes(&shape)[2], c_out]
                    .map(|len| (0..len).map(|_| random.uniform(-1.0, 1.0)).collect::<Vec<f64>>());
            let mut found = [vec![f64::NAN; y.len()], vec![f64::NAN; x.len()], vec![f64::NAN; w.len()]];
            forward(&shape, &x, &w, Some(&bias), &mut found[0]);
            input_gradient(&shape, &y, &w, &mut found[1]);
            weight_gradient(&shape, &x, &y, &mut found[2]);
            let expected = [
                naive::conv2d_forward(&shape, &x, &w, Some(&bias)),
                naive::conv2d_input_gradient(&shape, &y, &w),
                naive::conv2d_weight_gradient(&shape, &x, &y),
            ];
            for (found, expected) in found.concat().iter().zip(expected.concat()) {
                assert!((found - expected).abs() < 1e-12, "{shape:?}: {found} {expected}");
            }
        }
    }
}
