//! A training that was stopped, killed or damaged goes on to the same bits as one that never was.
#![cfg(feature = "bundle")]

use serde_json::{Value, json};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tapetum::data::{Species, synthetic};
use tapetum::prelude::*;

const EPOCHS: usize = 4;
/// 30 pictures in batches of 8; not a multiple of a pass, so that epochs begin in the middle of one.
const STEPS: usize = 5;

/// Everything that has a state: shuffling, augmentation, dropout, moving averages and statistics, moments.
fn network(units: usize) -> Sequential {
    Sequential::builder([12, 12, 3])
        .add(Conv2D::new(4, 3))
        .add(BatchNorm::new())
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Flatten)
        .add(Dropout::new(0.3))
        .add(Dense::new(units))
        .add(ReLU)
        .add(Dense::new(1))
        .add(Sigmoid)
        .build(5)
        .unwrap()
}

fn trainer() -> Trainer {
    let optimizer = Adam::new(Schedule::cosine(1e-2, 25).warmup(3));
    Trainer::new(network(8), BinaryCrossEntropy::default(), optimizer).seed(9).clip_norm(0.7).ema(0.9)
}

fn pictures() -> ImageSet {
    let species = |n: usize| if n.is_multiple_of(2) { Species::Cat } else { Species::Dog };
    let pictures = (0..30).map(|n| synthetic(species(n), 14, 14, Key::new(n as u64)).unwrap()).collect();
    let labels = (0..30).map(|n| n % 2).collect();
    ImageSet::from_pictures(pictures, labels, ["cat", "dog"].map(String::from).to_vec(), Preprocessing::new(12, 12))
        .unwrap()
}

/// Halves the learning rate when an epoch's loss is not the best so far, keeps a diary, and stops where it is told to.
#[derive(Debug, Default)]
struct Halve {
    best: Option<f64>,
    diary: Vec<String>,
    /// Sets the signal after this step.
    stop: Option<(u64, StopSignal)>,
    /// Ends the training after this epoch.
    last: Option<usize>,
}

impl Callback for Halve {
    fn on_epoch_begin(&mut self, epoch: usize) -> Result<()> {
        self.diary.push(format!("epoch {epoch}"));
        Ok(())
    }

    fn on_step_end(&mut self, step: &StepReport) -> Result<ControlFlow<()>> {
        self.diary.push(format!("step {} {:?}", step.step, step.loss));
        if let Some((_, signal)) = self.stop.as_ref().filter(|(at, _)| *at == step.step) {
            signal.set();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        let loss = epoch.report.val_loss.unwrap();
        if self.best.is_some_and(|best| loss >= best) {
            epoch.learning_rate_factor.set(epoch.learning_rate_factor.get() / 2.0);
        }
        self.best = Some(self.best.map_or(loss, |best| best.min(loss)));
        self.diary.push(format!("end of {}: {loss:?} {:?}", epoch.report.epoch, epoch.report.learning_rate));
        let last = self.last == Some(epoch.report.epoch);
        Ok(if last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn state(&self) -> Value {
        json!({ "best": self.best, "diary": self.diary })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.best = state["best"].as_f64();
        self.diary = serde_json::from_value(state["diary"].clone()).unwrap();
        Ok(())
    }
}

fn fit(data: &ImageSet) -> Fit<'_> {
    Fit::epochs(EPOCHS).batch_size(8).steps_per_epoch(STEPS).validate(data).verbosity(Verbosity::Silent)
}

/// All that must be the same to the bit: weights, averages, history without times, and what a callback saw.
type Outcome = (Vec<u32>, Vec<u32>, Vec<String>, Vec<String>);

fn outcome(trainer: &Trainer, history: &History, callback: &Halve) -> Outcome {
    let bits = |model: &Sequential| -> Vec<u32> {
        model.parameters().into_iter().chain(model.state()).flat_map(|(_, view)| view.mapv(f32::to_bits)).collect()
    };
    let told = |epoch: &EpochReport| {
        let timeless = EpochReport { seconds: 0.0, ms_per_step: 0.0, ..epoch.clone() };
        format!("{timeless:?}")
    };
    assert_eq!(history.epochs.len(), trainer.history().epochs.len());
    let history = history.epochs.iter().map(told).collect();
    (bits(trainer.model()), bits(&trainer.averaged_model()), history, callback.diary.clone())
}

fn augmented(data: &ImageSet) -> ImageSet {
    data.augmented(Augmentation::thesis())
}

/// The training that was never stopped.
fn uninterrupted(data: &ImageSet) -> Outcome {
    let (mut trainer, mut halve) = (trainer().threads(1), Halve::default());
    let history = trainer.fit(&augmented(data), fit(data).callback(&mut halve)).unwrap();
    assert!(trainer.history().epochs[EPOCHS - 1].learning_rate > 0.0 && !trainer.stopped());
    outcome(&trainer, &history, &halve)
}

/// Goes on from the newest checkpoint in `folder` to the end.
fn resumed(data: &ImageSet, folder: &Path, threads: usize) -> Outcome {
    let mut checkpoints = Checkpoints::open(folder).unwrap();
    let (mut trainer, mut halve) = (trainer().threads(threads), Halve::default());
    trainer.resume(&mut checkpoints).unwrap();
    let fit = fit(data).callback(&mut halve).checkpoints(&mut checkpoints);
    let history = trainer.fit(&augmented(data), fit).unwrap();
    outcome(&trainer, &history, &halve)
}

/// Trains with checkpoints after each `every`th step, until a signal after step `stop`.
fn stopped(data: &ImageSet, folder: &Path, every: u64, stop: u64) -> Trainer {
    let mut checkpoints = Checkpoints::open(folder).unwrap().every_steps(every).keep(100);
    let signal = StopSignal::new();
    let mut halve = Halve { stop: Some((stop, signal.clone())), ..Halve::default() };
    let mut trainer = trainer();
    let fit = fit(data).callback(&mut halve).checkpoints(&mut checkpoints).stop(&signal);
    trainer.fit(&augmented(data), fit).unwrap();
    trainer
}

#[test]
fn from_every_checkpoint_it_goes_on_to_the_same_bits() {
    let (data, folder) = (pictures(), tempfile::tempdir().unwrap());
    let expected = uninterrupted(&data);
    stopped(&data, folder.path(), 1, u64::MAX);
    let files = Checkpoints::open(folder.path()).unwrap().files().unwrap();
    assert_eq!(files.len(), EPOCHS * STEPS);
    for (place, file) in files.into_iter().enumerate() {
        let (mut trainer, mut halve) = (trainer().threads(1 + place % 2), Halve::default());
        trainer.restore(&Checkpoint::load(&file).unwrap()).unwrap();
        let history = trainer.fit(&augmented(&data), fit(&data).callback(&mut halve)).unwrap();
        assert!(outcome(&trainer, &history, &halve) == expected, "{}", file.display());
    }
}

#[test]
fn a_signal_stops_it_with_a_checkpoint_wherever_it_comes() {
    let data = pictures();
    let expected = uninterrupted(&data);
    // The first step, the middle of an epoch, its last step, the last but one, and the last of all.
    for (stop, threads) in [(1, 1), (7, 2), (10, 1), (19, 2), (20, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let trainer = stopped(&data, folder.path(), 1000, stop);
        assert_eq!(trainer.stopped(), stop < 20);
        let newest = Checkpoints::open(folder.path()).unwrap().newest().unwrap().unwrap();
        assert_eq!((newest.checkpoint.step(), newest.checkpoint.is_finished()), (stop, stop == 20));
        assert!(resumed(&data, folder.path(), threads) == expected, "stopped at {stop}");
    }
}

#[test]
fn a_fit_that_was_stopped_goes_on_in_the_same_program() {
    let (data, folder) = (pictures(), tempfile::tempdir().unwrap());
    let mut trainer = stopped(&data, folder.path(), 1000, 7);
    let error = trainer.fit(&augmented(&data), fit(&data)).unwrap_err().to_string();
    assert_eq!(error, "fit: callbacks must be 1, as before the stop, got 0");
    let mut halve = Halve::default();
    let history = trainer.fit(&augmented(&data), fit(&data).callback(&mut halve)).unwrap();
    assert!(outcome(&trainer, &history, &halve) == uninterrupted(&data) && !trainer.stopped());
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let (data, folder) = (pictures(), tempfile::tempdir().unwrap());
    stopped(&data, folder.path(), 2, 9);
    let files = Checkpoints::open(folder.path()).unwrap().files().unwrap();
    let mut bytes = fs::read(&files[0]).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 16;
    fs::write(&files[0], &bytes).unwrap();
    fs::write(&files[1], &bytes[..100]).unwrap();
    let newest = Checkpoints::open(folder.path()).unwrap().newest().unwrap().unwrap();
    assert_eq!((newest.checkpoint.step(), newest.damaged.len()), (6, 2));
    assert!(newest.damaged[0].to_string().ends_with("the checksum does not fit: the file is damaged"));
    assert!(resumed(&data, folder.path(), 2) == uninterrupted(&data));
    // Each file is whole now, and the last three and the best are left.
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    let files = checkpoints.files().unwrap();
    assert!(files.len() <= 4 && files.iter().all(|file| Checkpoint::load(file).is_ok()), "{files:?}");
    files.iter().for_each(|file| fs::write(file, "").unwrap());
    let error = checkpoints.newest().unwrap_err().to_string();
    assert!(error.starts_with("no checkpoint in ") && error.contains(&files[2].display().to_string()), "{error}");
}

#[test]
fn what_is_kept() {
    let (data, folder) = (pictures(), tempfile::tempdir().unwrap());
    let mut trainer = Trainer::new(network(8), BinaryCrossEntropy::default(), Adam::new(0.0)); // the first is the best
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap().keep(2);
    trainer.fit(&data, fit(&data).checkpoints(&mut checkpoints)).unwrap();
    let best = trainer.history().best().unwrap().epoch;
    let kept = |step| format!("checkpoint-{step:010}.safetensors");
    let mut expected = vec![kept(15), kept(20), "lock".to_string()];
    if best < 3 {
        expected.insert(0, kept(STEPS * best));
    }
    assert_eq!(names(folder.path()), expected);

    // A training that does not know of them does not touch them.
    fs::write(folder.path().join(".checkpoint-0000000007.safetensors.tmp"), "half of").unwrap();
    fs::write(folder.path().join("notes"), "mine").unwrap();
    drop(checkpoints);
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    expected.push("notes".into());
    let error = self::trainer().fit(&data, fit(&data).checkpoints(&mut checkpoints)).unwrap_err().to_string();
    assert!(error.contains("0020.safetensors: this training is at step 0 only: resume it, or take"), "{error}");
    assert_eq!(names(folder.path()), expected);
    let mut none = Checkpoints::open(folder.path().join("none")).unwrap().keep(0);
    assert!(self::trainer().fit(&data, fit(&data).checkpoints(&mut none)).is_err());
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn only_one_training_uses_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = Checkpoints::open(folder.path()).unwrap();
    let error = Checkpoints::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("another training is writing its checkpoints here"), "{error}");
    drop(first);
    Checkpoints::open(folder.path()).unwrap();
}

#[test]
fn another_training_is_refused_with_both_named() {
    let (data, folder) = (pictures(), tempfile::tempdir().unwrap());
    let checkpoint = stopped(&data, folder.path(), 1000, 7).checkpoint();
    let with = |model| Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(1e-3)).seed(9).clip_norm(0.7);
    let schedule = || Adam::new(Schedule::cosine(1e-2, 25).warmup(3));
    let smooth = BinaryCrossEntropy::default().label_smoothing(0.1);
    let same = || Trainer::new(network(8), BinaryCrossEntropy::default(), schedule());
    for (mut other, expected) in [
        (
            with(network(7)),
            "trainer: network must be [12, 12, 3] Conv2D BatchNorm ReLU MaxPool2D Flatten Dropout Dense",
        ),
        (
            with(network(7)),
            "(layer 7 is Dense {\"units\":8,\"use_bias\":true} there, Dense {\"units\":7,\"use_bias\":true} here)",
        ),
        (with(network(8)).ema(0.9), "optimizer must be Adam {"),
        (same().seed(8).clip_norm(0.7).ema(0.9), "seed must be 9, as before the stop, got 8"),
        (same().seed(9).clip_norm(0.7).ema(0.8), "ema must be {\"bias_correction\":false,\"decay\":0.9}"),
        (same().seed(9).ema(0.9), "clip_norm must be 0.7, as before the stop, got none"),
        (Trainer::new(network(8), smooth, schedule()).seed(9).clip_norm(0.7).ema(0.9), "label_smoothing: 0.1"),
    ] {
        let before = weights_sha256(other.model());
        let error = other.restore(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(before, weights_sha256(other.model()));
    }

    let mut trainer = trainer();
    trainer.restore(&checkpoint).unwrap();
    let mut refuse = |training: &ImageSet, fit: Fit<'_>, expected: &str| {
        let error = trainer.fit(training, fit).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let fewer = data.subset(&(0..28).collect::<Vec<_>>()).unwrap();
    refuse(&augmented(&data), fit(&data).batch_size(7), "batch_size must be 8, as before the stop, got 7");
    refuse(&augmented(&data), fit(&data).steps_per_epoch(6), "steps_per_epoch must be 5, as before the stop, got 6");
    refuse(&augmented(&data), fit(&data).shuffle(false), "shuffle must be true, as before the stop, got false");
    refuse(
        &augmented(&data),
        fit(&data).validation_steps(2),
        "validation_steps must be all, as before the stop, got 2",
    );
    refuse(&augmented(&fewer), fit(&data), "data must be 30 samples [12, 12, 3] of cat, dog (targets");
    refuse(&data, fit(&data), "data must be 30 samples"); // without augmentation
    refuse(&augmented(&data), fit(&fewer), "validate must be 30 samples");
}

#[test]
fn what_a_callback_ended_stays_ended_and_more_epochs_may_follow() {
    let data = pictures();
    let trainer = || Trainer::new(network(8), BinaryCrossEntropy::default(), Adam::new(1e-3));
    let train = |folder: &Path, epochs: usize, last: Option<usize>| {
        let (mut trainer, mut halve) = (trainer(), Halve { last, ..Halve::default() });
        let mut checkpoints = Checkpoints::open(folder).unwrap();
        let newest = trainer.resume(&mut checkpoints).unwrap();
        let fit = Fit::epochs(epochs).batch_size(8).validate(&data).verbosity(Verbosity::Silent);
        let history = trainer.fit(&data, fit.callback(&mut halve).checkpoints(&mut checkpoints)).unwrap();
        (newest.is_some_and(|newest| newest.checkpoint.is_finished()), outcome(&trainer, &history, &halve))
    };
    let [ended, more, once] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = train(ended.path(), 4, Some(2));
    assert!(!first.0 && first.1.2.len() == 2);
    assert!(train(ended.path(), 4, Some(2)) == (true, first.1));
    train(more.path(), 2, None);
    assert!(train(more.path(), 3, None) == (true, train(once.path(), 3, None).1));
}

/// Names the folder for the program that this program starts to be killed.
const FOLDER: &str = "TAPETUM_TEST_RESUME_FOLDER";

/// Not a test: what the killed program does.
#[test]
fn child() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let data = pictures();
        let mut checkpoints = Checkpoints::open(&folder).unwrap().every_steps(1);
        let (mut trainer, mut halve) = (trainer(), Halve::default());
        trainer.resume(&mut checkpoints).unwrap();
        let fit = fit(&data).callback(&mut halve).checkpoints(&mut checkpoints);
        trainer.fit(&augmented(&data), fit).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn start_child(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child"]).env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn killed_at_any_moment_it_goes_on_to_the_same_bits() {
    let (data, folder) = (pictures(), tempfile::tempdir().unwrap());
    let kills = std::env::var("TAPETUM_TEST_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let mut random = Key::new(1).named("kills").stream();
    let mut ends: Vec<ExitStatus> = Vec::new();
    for _ in 0..kills {
        let mut child = start_child(folder.path()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs_f64(random.uniform(0.0, 0.12)));
        child.kill().unwrap();
        ends.push(child.wait().unwrap());
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        let files = checkpoints.files().unwrap();
        assert!(files.iter().all(|file| Checkpoint::load(file).is_ok()), "an unreadable checkpoint is left");
        assert_eq!(
            names(folder.path()).len(),
            files.len() + 1,
            "a stray file is left beside the checkpoints and the lock"
        );
        // From the beginning again: most moments of a training are then met.
        let finished = checkpoints.newest().unwrap().is_some_and(|newest| newest.checkpoint.is_finished());
        drop(checkpoints);
        if finished {
            assert!(resumed(&data, folder.path(), 1) == uninterrupted(&data));
            files.iter().for_each(|file| fs::remove_file(file).unwrap());
        }
    }
    println!("{} of {kills} were killed before their end", ends.iter().filter(|end| !end.success()).count());
    assert!(resumed(&data, folder.path(), 2) == uninterrupted(&data));
}

/// A limit on the size of files stands for a full disk: the write fails in its middle.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_leaves_the_old_checkpoint() {
    let (data, folder) = (pictures(), tempfile::tempdir().unwrap());
    stopped(&data, folder.path(), 1000, 7);
    let file = folder.path().join("checkpoint-0000000007.safetensors");
    let (before, bytes) = (names(folder.path()), fs::read(&file).unwrap());
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" --exact child"]).arg(std::env::current_exe().unwrap());
    let output = limited.env(FOLDER, folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("make room, then go on from the last"), "{told}");
    assert_eq!((names(folder.path()), fs::read(&file).unwrap()), (before, bytes));
    assert!(resumed(&data, folder.path(), 1) == uninterrupted(&data));
}
