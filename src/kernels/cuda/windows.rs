//! Windows over pictures as kernels take them: `kernels/window.cuh`, from the other side.

use super::call::as_it_is;
use super::parameters::Divisor;
use crate::kernels::cpu::pool2d::Pool2DShape;
use crate::shape::Geometry2D;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Axis {
    input: Divisor,
    output: Divisor,
    stride: Divisor,
    dilation: Divisor,
    kernel: i32,
    before: i32,
    padded: i32,
}

/// Windows over pictures with so many channels.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    channels: Divisor,
    axes: [Axis; 2],
}

as_it_is!(Windows);

impl Windows {
    /// # Panics
    /// Where a picture, or its padding, is too large for kernels that count in 31 bits.
    pub fn new(geometry: &Geometry2D, channels: usize) -> Self {
        let axis = |axis: usize| {
            let Geometry2D { input, output, kernel, stride, dilation, before, after } = geometry;
            let padded = before[axis] + input[axis] + after[axis];
            // The farthest that a kernel looks: a stride behind the last window's last tap.
            let reach = (output[axis] * stride[axis]).checked_add(kernel[axis] * dilation[axis] + padded);
            assert!(reach.is_some_and(|reach| reach <= i32::MAX as usize), "kernels count in 31 bits");
            Axis {
                input: Divisor::new(input[axis]),
                output: Divisor::new(output[axis]),
                stride: Divisor::new(stride[axis]),
                dilation: Divisor::new(dilation[axis]),
                kernel: kernel[axis] as i32,
                before: before[axis] as i32,
                padded: padded as i32,
            }
        };
        Self { channels: Divisor::new(channels), axes: [axis(0), axis(1)] }
    }

    /// Those that are never looked at.
    pub fn none() -> Self {
        let one = Divisor::new(1);
        let axis = Axis { input: one, output: one, stride: one, dilation: one, kernel: 1, before: 0, padded: 1 };
        Self { channels: one, axes: [axis; 2] }
    }
}

impl From<&Pool2DShape> for Windows {
    fn from(shape: &Pool2DShape) -> Self {
        Self::new(&shape.geometry, shape.channels)
    }
}

/// Numbers of x and of y.
pub(super) fn sizes(shape: &Pool2DShape) -> [usize; 2] {
    let Pool2DShape { batch, geometry, channels } = *shape;
    [batch * geometry.input[0] * geometry.input[1] * channels, batch * geometry.pixels() * channels]
}
