//! Ctrl-C and its like: the first stops the training with a checkpoint, the second at once. And the signal of a pipe whose
//! other end was closed, as `head` does.

use tapetum::prelude::*;

/// By convention 128 and the number of the signal that Ctrl-C sends.
pub const STOPPED: u8 = 130;

/// A signal that Ctrl-C, SIGTERM and SIGHUP set.
pub fn stop_signal() -> Result<StopSignal, ctrlc::Error> {
    let stop = StopSignal::new();
    let signal = stop.clone();
    ctrlc::set_handler(move || {
        if signal.is_set() {
            std::process::exit(i32::from(STOPPED));
        }
        signal.set();
        eprintln!("\nstopping after this step with a checkpoint; once more stops at once");
    })?;
    Ok(stop)
}

/// Ends the program, as others end, where it writes to a closed pipe: otherwise `println!` would panic.
pub fn end_with_a_pipe() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use signal_hook::{consts::SIGPIPE, flag::register_conditional_shutdown};
        register_conditional_shutdown(SIGPIPE, 128 + SIGPIPE, std::sync::Arc::new(true.into()))?;
    }
    Ok(())
}
