//! What can go wrong, with the names and shapes in it.

use std::fmt;
use std::path::PathBuf;

/// The result of everything in this crate that a user can get wrong.
///
/// ```
/// use tapetum::prelude::*;
/// fn classifier() -> Result<Sequential> {
///     Sequential::builder([8, 8, 3]).add(Flatten).add(Dense::new(1)).add(Sigmoid).build(1)
/// }
/// assert_eq!(classifier()?.output_shape(), [1]);
/// # Ok::<(), Error>(())
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error names the thing, what was expected and what came.
///
/// ```
/// use tapetum::prelude::*;
/// let error = Sequential::builder([8, 8, 3]).add(Conv2D::new(4, 9)).build(1).unwrap_err();
/// assert!(matches!(error, Error::Argument { argument: "kernel", .. }));
/// assert_eq!(error.to_string(), "conv2d_1: kernel must be at most the padded input's height, 8, got 9");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another shape than the place it is used in asks for.
    Shape {
        /// The layer, loss or function, as in `conv2d_2`.
        at: String,
        /// The shape that fits, as in `input [N, 31, 31, 32]`.
        expected: String,
        /// The shape that came.
        found: Vec<usize>,
    },
    /// A setting lies outside what makes sense.
    Argument {
        /// The layer, loss or function.
        at: String,
        /// The setting's name.
        argument: &'static str,
        /// What would do.
        expected: String,
        /// What came.
        found: String,
    },
    /// A layer with parameters was used before `build` gave it any.
    NotBuilt {
        /// The layer.
        at: String,
    },
    /// No layer, parameter or kind of that name exists.
    UnknownName {
        /// What was looked for, as in `parameter`.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Training diverged: a number became infinite or NaN. The weights are as they were before the step.
    NotFinite {
        /// What it was: the loss, or the name of a parameter whose gradient it was.
        what: String,
        /// The step, counted from 1 over the whole training.
        step: u64,
        /// Infinite or NaN.
        value: f64,
    },
    /// A file could not be read, understood or written.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A device is not there, cannot do what was asked, or was lost.
    Device {
        /// The device, as in `cuda:0`.
        device: String,
        /// What is wrong with it, and what helps.
        message: String,
    },
    /// A data set cannot serve: empty, one class only, other pictures than the network takes.
    Data {
        /// What is wrong, and with what.
        message: String,
    },
}

impl Error {
    pub(crate) fn shape(at: impl Into<String>, expected: impl Into<String>, found: &[usize]) -> Self {
        Self::Shape { at: at.into(), expected: expected.into(), found: found.to_vec() }
    }

    pub(crate) fn argument(
        at: impl Into<String>,
        argument: &'static str,
        expected: impl Into<String>,
        found: impl fmt::Display,
    ) -> Self {
        Self::Argument { at: at.into(), argument, expected: expected.into(), found: found.to_string() }
    }

    pub(crate) fn file(
        path: impl AsRef<std::path::Path>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), source: source.into() }
    }

    pub(crate) fn device(device: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::Device { device: device.to_string(), message: message.into() }
    }

    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self::Data { message: message.into() }
    }

    /// The same error, told of the layer `name` instead of the layer's kind: `conv2d` becomes `conv2d_2`, and
    /// `residual.conv2d_1` becomes `residual_2.conv2d_1`.
    pub(crate) fn renamed(self, name: &str) -> Self {
        self.relocated(|at| at.find('.').map_or(name.to_string(), |dot| format!("{name}{}", &at[dot..])))
    }

    /// The same error, told of the layer `name`: its own, where it tells of its kind, or of a layer inside it, so that
    /// `conv2d_2` of a network becomes `sequential_1.conv2d_2`.
    pub(crate) fn of_layer(self, kind: &str, name: &str) -> Self {
        let kind = kind.to_lowercase();
        self.relocated(|at| match at.strip_prefix(&kind) {
            Some(inside) if inside.is_empty() || inside.starts_with('.') => format!("{name}{inside}"),
            _ => format!("{name}.{at}"),
        })
    }

    /// The same error, told of a layer inside the layer `outer`.
    pub(crate) fn inside(self, outer: &str) -> Self {
        self.relocated(|at| format!("{outer}.{at}"))
    }

    fn relocated(mut self, place: impl Fn(&str) -> String) -> Self {
        if let Self::Shape { at, .. } | Self::Argument { at, .. } | Self::NotBuilt { at } = &mut self {
            *at = place(at);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { at, expected, found } => write!(f, "{at}: expected {expected}, got {found:?}"),
            Self::Argument { at, argument, expected, found } => {
                write!(f, "{at}: {argument} must be {expected}, got {found}")
            }
            Self::NotBuilt { at } => write!(f, "{at}: has no parameters yet; call build(input shape) first"),
            Self::UnknownName { what, name, known } => {
                write!(f, "no {what} named {name:?}; there is {}", known.join(", "))
            }
            Self::NotFinite { what, step, value } => write!(
                f,
                "{what} became {value} at step {step}; the weights are kept as they were before that step \
                 (a lower learning rate usually helps)"
            ),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Device { device, message } => write!(f, "{device}: {message}"),
            Self::Data { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
