//! The oracle of each kernel: the formula, in `f64`, one number after the other.

use super::conv2d::Conv2DShape;
use super::pool2d::Pool2DShape;

/// c[m,n] = Σ_k a[m,k] · b[k,n]
pub fn gemm([m, k, n]: [usize; 3], a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        }
    }
    c
}

/// Every product of a convolution: `meet(y, x, w)` with the offsets of the three numbers that belong together.
fn each_product(shape: &Conv2DShape, mut meet: impl FnMut(usize, usize, usize)) {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
    let ([h, w], [oh, ow], [kh, kw]) = (geometry.input, geometry.output, geometry.kernel);
    let (c_group, f_group) = (c_in / groups, c_out / groups);
    for n in 0..batch {
        for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
            for (u, v) in (0..kh).flat_map(|u| (0..kw).map(move |v| (u, v))) {
                let (Some(row), Some(column)) = (geometry.meets(0, i, u), geometry.meets(1, j, v)) else { continue };
                for (c, f) in (0..c_group).flat_map(|c| (0..c_out).map(move |f| (c, f))) {
                    let y = ((n * oh + i) * ow + j) * c_out + f;
                    let x = ((n * h + row) * w + column) * c_in + f / f_group * c_group + c;
                    meet(y, x, ((u * kw + v) * c_group + c) * c_out + f);
                }
            }
        }
    }
}

/// The sizes of x, w and y.
pub fn conv2d_sizes(shape: &Conv2DShape) -> [usize; 3] {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
    [
        batch * geometry.input[0] * geometry.input[1] * c_in,
        geometry.taps() * (c_in / groups) * c_out,
        batch * geometry.pixels() * c_out,
    ]
}

pub fn conv2d_forward(shape: &Conv2DShape, x: &[f64], w: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let mut y: Vec<f64> =
        (0..conv2d_sizes(shape)[2]).map(|at| bias.map_or(0.0, |bias| bias[at % shape.c_out])).collect();
    each_product(shape, |at, x_at, w_at| y[at] += x[x_at] * w[w_at]);
    y
}

pub fn conv2d_input_gradient(shape: &Conv2DShape, dy: &[f64], w: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; conv2d_sizes(shape)[0]];
    each_product(shape, |y_at, at, w_at| dx[at] += dy[y_at] * w[w_at]);
    dx
}

pub fn conv2d_weight_gradient(shape: &Conv2DShape, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dw = vec![0.0; conv2d_sizes(shape)[1]];
    each_product(shape, |y_at, x_at, at| dw[at] += dy[y_at] * x[x_at]);
    dw
}

/// Every tap of a pooling that lies inside the picture: `meet(y, x, tap)`, taps of one y in order.
fn each_tap(shape: &Pool2DShape, mut meet: impl FnMut(usize, usize, usize)) {
    let Pool2DShape { batch, geometry, channels } = *shape;
    let ([h, w], [oh, ow], [kh, kw]) = (geometry.input, geometry.output, geometry.kernel);
    for n in 0..batch {
        for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
            for (u, v) in (0..kh).flat_map(|u| (0..kw).map(move |v| (u, v))) {
                let (Some(row), Some(column)) = (geometry.meets(0, i, u), geometry.meets(1, j, v)) else { continue };
                for c in 0..channels {
                    let y = ((n * oh + i) * ow + j) * channels + c;
                    meet(y, ((n * h + row) * w + column) * channels + c, u * kw + v);
                }
            }
        }
    }
}

/// The sizes of x and y.
pub fn pool2d_sizes(shape: &Pool2DShape) -> [usize; 2] {
    let Pool2DShape { batch, geometry, channels } = *shape;
    [batch * geometry.input[0] * geometry.input[1] * channels, batch * geometry.pixels() * channels]
}

pub fn max_forward(shape: &Pool2DShape, x: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let mut y = vec![f64::NEG_INFINITY; pool2d_sizes(shape)[1]];
    let mut argmax = vec![0; y.len()];
    let mut seen = vec![false; y.len()];
    each_tap(shape, |at, x_at, tap| {
        if !seen[at] || x[x_at] > y[at] || (x[x_at].is_nan() && !y[at].is_nan()) {
            (y[at], argmax[at], seen[at]) = (x[x_at], tap as u32, true);
        }
    });
    (y, argmax)
}

pub fn max_backward(shape: &Pool2DShape, argmax: &[u32], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; pool2d_sizes(shape)[0]];
    each_tap(shape, |y_at, at, tap| {
        if tap == argmax[y_at] as usize {
            dx[at] += dy[y_at];
        }
    });
    dx
}

/// By how much each y is divided: its taps inside the picture, or inside the padded picture; at least 1.
fn divisors(shape: &Pool2DShape, count_pad: bool) -> Vec<f64> {
    let padded = |axis: usize, out: usize, tap: usize| {
        let geometry = &shape.geometry;
        out * geometry.stride[axis] + tap * geometry.dilation[axis]
            < geometry.before[axis] + geometry.input[axis] + geometry.after[axis]
    };
    let mut counts = vec![0.0; pool2d_sizes(shape)[1]];
    if !count_pad {
        each_tap(shape, |at, _, _| counts[at] += 1.0);
    } else {
        let ([oh, ow], [kh, kw]) = (shape.geometry.output, shape.geometry.kernel);
        for (at, count) in counts.iter_mut().enumerate() {
            let pixel = at / shape.channels;
            let rows = (0..kh).filter(|&u| padded(0, pixel / ow % oh, u)).count();
            let columns = (0..kw).filter(|&v| padded(1, pixel % ow, v)).count();
            *count = (rows * columns) as f64;
        }
    }
    counts.iter().map(|count| count.max(1.0)).collect()
}

pub fn average_forward(shape: &Pool2DShape, count_pad: bool, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; pool2d_sizes(shape)[1]];
    each_tap(shape, |at, x_at, _| y[at] += x[x_at]);
    y.iter().zip(divisors(shape, count_pad)).map(|(sum, count)| sum / count).collect()
}

pub fn average_backward(shape: &Pool2DShape, count_pad: bool, dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; pool2d_sizes(shape)[0]];
    let counts = divisors(shape, count_pad);
    each_tap(shape, |y_at, at, _| dx[at] += dy[y_at] / counts[y_at]);
    dx
}
