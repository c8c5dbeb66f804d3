//! A folder of pictures: one subfolder for each class, as with Keras' `flow_from_directory`.

use super::image_set::Store;
use super::listing::{self, Listing};
use super::{DecodeLimits, ImageSet, Picture, Preprocessing, Skipped, decode};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The picture files of a folder, found but not yet decoded.
///
/// Each subfolder is a class; classes are numbered in the byte order of their names, which for plain names is the
/// alphabet with capitals first. Pictures may lie deeper, in any number of folders. What is a picture, the first
/// bytes of a file tell; the ending of its name does not matter, except that a file named like a picture that is
/// none counts as damaged. Files and folders whose name begins with a dot, and all other files, are ignored.
/// The order of files is that of their paths, the same on every machine.
///
/// ```no_run
/// use tapetum::data::{ImageFolder, LoadOptions, Preprocessing};
/// let folder = ImageFolder::open("training_set")?;
/// let pictures = folder.load(&Preprocessing::new(64, 64), &LoadOptions::default())?;
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageFolder {
    path: PathBuf,
    class_names: Vec<String>,
    /// Path and class.
    files: Vec<(PathBuf, usize)>,
    ignored: usize,
}

/// What to do about a picture file that is damaged, truncated or beyond the limits.
///
/// ```
/// use tapetum::data::{Damaged, LoadOptions};
/// use tapetum::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// # for class in ["cats", "dogs"] {
/// #     std::fs::create_dir(path.join(class)).unwrap();
/// #     std::fs::write(path.join(class).join("1.ppm"), "P3 1 1 255  1 2 3").unwrap();
/// # }
/// std::fs::write(path.join("cats/2.jpg"), "no picture").unwrap();
/// let (folder, to) = (ImageFolder::open(path)?, Preprocessing::new(8, 8));
/// let pictures = folder.load(&to, &LoadOptions::default())?;
/// assert!(pictures.skipped()[0].path.ends_with("cats/2.jpg"));
/// assert!(folder.load(&to, &LoadOptions { damaged: Damaged::Refuse, ..LoadOptions::default() }).is_err());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Damaged {
    /// Leave it out, and tell of it in [`ImageSet::skipped`].
    #[default]
    Skip,
    /// Stop with an error that names it.
    Refuse,
}

/// How [`ImageFolder::load`] reads the files.
///
/// ```
/// use tapetum::data::LoadOptions;
/// use tapetum::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// # for class in ["cats", "dogs"] {
/// #     std::fs::create_dir(path.join(class)).unwrap();
/// #     std::fs::write(path.join(class).join("1.ppm"), "P3 1 1 255  1 2 3").unwrap();
/// # }
/// let progress = |done: usize, all: usize| println!("{done} of {all}");
/// let options = LoadOptions { memory: 256 << 20, progress: Some(&progress), ..LoadOptions::default() };
/// let pictures = ImageFolder::open(path)?.load(&Preprocessing::new(64, 64), &options)?;
/// assert_eq!(pictures.len(), 2);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// What to do about damaged files: skip them, unless told otherwise.
    pub damaged: Damaged,
    /// How many bytes the pictures, at the network's size, may take in memory (1 GiB). The first so many stay
    /// there; the others are checked too, and read again from their files whenever they are needed.
    pub memory: usize,
    /// What a single file may ask for.
    pub limits: DecodeLimits,
    /// Called after each file with the number of files done, 1 more each time, and the number of files in all.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self { damaged: Damaged::Skip, memory: 1 << 30, limits: DecodeLimits::default(), progress: None }
    }
}

impl ImageFolder {
    /// Finds the classes of a folder and their picture files.
    ///
    /// # Errors
    /// Where there is no such folder, it has fewer than two subfolders, or one of them holds no picture.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (entries, hidden) = listing::entries(path).map_err(|error| Error::file(path, error))?;
        let mut folder = Self { path: path.into(), class_names: Vec::new(), files: Vec::new(), ignored: hidden };
        for entry in entries {
            if !entry.is_dir() {
                folder.ignored += 1;
                continue;
            }
            let found = Listing::below(&entry);
            if let Some((path, error)) = found.unreadable.into_iter().next() {
                return Err(Error::file(path, error));
            }
            if found.pictures.is_empty() {
                return Err(Error::file(entry, "this class has no pictures; add some or move the folder away"));
            }
            let class = folder.class_names.len();
            folder.files.extend(found.pictures.into_iter().map(|picture| (picture, class)));
            folder.ignored += found.hidden + found.others.len();
            folder.class_names.push(listing::name(&entry));
        }
        if folder.class_names.len() < 2 {
            let found = match folder.class_names.first() {
                Some(class) => format!("found only {class:?}"),
                None => "found none".to_string(),
            };
            return Err(Error::file(path, format!("there must be a subfolder of pictures for each class; {found}")));
        }
        Ok(folder)
    }

    /// The training and the test pictures of a folder with `training_set` and `test_set`, as in the thesis;
    /// of any other folder all pictures, and none for testing.
    ///
    /// # Errors
    /// As [`ImageFolder::open`], and where the two have different classes.
    pub fn open_train_test(path: impl AsRef<Path>) -> Result<(Self, Option<Self>)> {
        let Some([train, test]) = listing::training_and_test(path.as_ref()) else {
            return Ok((Self::open(path)?, None));
        };
        let (train, test) = (Self::open(train)?, Self::open(test)?);
        if train.class_names != test.class_names {
            let message =
                format!("the classes {:?} are not those of training, {:?}", test.class_names, train.class_names);
            return Err(Error::file(test.path, message));
        }
        Ok((train, Some(test)))
    }

    /// Only the first `count` files of each class, for a quick try.
    pub fn take(mut self, count: usize) -> Self {
        let mut taken = vec![0; self.class_names.len()];
        self.files.retain(|&(_, class)| {
            taken[class] += 1;
            taken[class] <= count
        });
        self
    }

    /// The names of the classes, in the order of their labels.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The picture files and the class of each.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&Path, usize)> {
        self.files.iter().map(|(path, class)| (path.as_path(), *class))
    }

    /// How many files and folders were ignored: hidden ones, and files that are no pictures.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// Decodes all pictures and brings them to the network's size, in parallel.
    ///
    /// # Errors
    /// Where a damaged file is to be refused, no picture of a class is left, or the size has no pixels.
    pub fn load(&self, preprocessing: &Preprocessing, options: &LoadOptions<'_>) -> Result<ImageSet> {
        let mut store = Store::new(preprocessing, &self.class_names)?;
        store.limits = options.limits;
        let done = counted(options.progress, self.files.len());
        let read = |(path, _): &(PathBuf, usize)| -> Result<Picture> {
            let picture = decode::open(path, &options.limits).and_then(|it| preprocessing.resize(&it.picture));
            done();
            picture
        };
        // In portions, so that what waits to be put in order stays small beside the pictures themselves.
        for portion in self.files.chunks((PORTION_BYTES / store.volume()).clamp(1, 1024)) {
            let pictures: Vec<_> = portion.par_iter().map(read).collect();
            for ((path, class), picture) in portion.iter().zip(pictures) {
                match picture {
                    Ok(picture) => {
                        store.add(picture, *class, options.memory);
                        store.paths.push(path.clone());
                    }
                    Err(Error::File { source, .. }) if options.damaged == Damaged::Skip => {
                        store.skipped.push(Skipped { path: path.clone(), reason: source.to_string() });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.expect_pictures(&store)?;
        Ok(ImageSet::from_store(store))
    }

    fn expect_pictures(&self, store: &Store) -> Result<()> {
        let mut left = vec![false; self.class_names.len()];
        store.labels.iter().for_each(|&class| left[class] = true);
        match left.iter().position(|&left| !left) {
            None => Ok(()),
            Some(class) => {
                let first = store.skipped.first().map_or("none was asked for", |skipped| &skipped.reason);
                let name = &self.class_names[class];
                Err(Error::file(&self.path, format!("no picture of class {name:?} could be used ({first})")))
            }
        }
    }
}

/// To be called after each of `all` files, from any thread: tells how many are done, 1 more each time.
pub(super) fn counted(progress: Option<&(dyn Fn(usize, usize) + Sync)>, all: usize) -> impl Fn() + Sync {
    let done = Mutex::new(0);
    move || {
        if let Some(progress) = progress {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            *done += 1;
            progress(*done, all);
        }
    }
}

/// The pictures of one portion take about this much memory before they are put in order.
const PORTION_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, SampleTarget};
    use crate::random::Key;
    use std::ffi::OsStr;
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tempfile::TempDir;

    /// A folder with these files; a picture has one pixel, whose red byte is its number in the list.
    fn folder(files: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, name) in files.iter().enumerate() {
            write(&folder, name, format!("P3 1 1 255 {number} 0 0").as_bytes());
        }
        folder
    }

    fn write(folder: &TempDir, name: &str, bytes: &[u8]) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn load(folder: &TempDir, options: LoadOptions<'_>) -> Result<ImageSet> {
        ImageFolder::open(folder.path())?.load(&Preprocessing::new(1, 1).rescale(1.0), &options)
    }

    fn numbers(set: &ImageSet) -> Vec<u8> {
        (0..set.len()).map(|index| set.picture(index).unwrap().rgb[0]).collect()
    }

    #[test]
    fn classes_and_files_come_in_byte_order_whatever_they_are_called() {
        let files = ["dog s/b.JPG", "dog s/deep/er/a.PnG", "dog s/a", "cats/2.jpeg", "cats/10.ppm", "Zebra/é.bmp"];
        let folder = folder(&files);
        let set = load(&folder, LoadOptions::default()).unwrap();
        assert_eq!(set.class_names(), ["Zebra", "cats", "dog s"]);
        assert_eq!((numbers(&set), set.labels()), (vec![5, 4, 3, 2, 0, 1], vec![0, 1, 1, 2, 2, 2]));
        assert!(set.path(5).unwrap().ends_with("dog s/deep/er/a.PnG"));
        assert_eq!(set.target(3), SampleTarget::Label(2));
    }

    #[test]
    fn what_is_hidden_or_no_picture_is_ignored_and_counted() {
        let folder = folder(&["a/1.ppm", "b/2.ppm", ".git/x.ppm", "a/.hidden/x.ppm", "a/._1.ppm", "root.ppm"]);
        write(&folder, "a/notes.txt", b"not a picture");
        write(&folder, "b/Thumbs.db", b"");
        let found = ImageFolder::open(folder.path()).unwrap();
        assert_eq!((found.files().len(), found.ignored()), (2, 6));
    }

    #[test]
    fn damaged_files_are_skipped_or_refused_by_name() {
        let folder = folder(&["a/1.ppm", "a/2.ppm", "b/3.ppm"]);
        write(&folder, "a/1a.png", b"<html>");
        write(&folder, "b/empty.JPG", b"");
        let set = load(&folder, LoadOptions::default()).unwrap();
        assert_eq!((numbers(&set), set.labels()), (vec![0, 1, 2], vec![0, 0, 1]));
        let empty = Skipped { path: folder.path().join("b/empty.JPG"), reason: "the file is empty".into() };
        assert_eq!((set.skipped().len(), &set.skipped()[1]), (2, &empty));
        let refused = load(&folder, LoadOptions { damaged: Damaged::Refuse, ..LoadOptions::default() });
        assert!(refused.unwrap_err().to_string().contains("1a.png: not a picture"));

        write(&folder, "b/3.ppm", b"P3 1 1");
        let message = load(&folder, LoadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(r#"no picture of class "b""#), "{message}");
    }

    #[test]
    fn pictures_beyond_the_memory_budget_are_the_same_pictures() {
        let folder = folder(&["a/1.ppm", "a/2.ppm", "b/3.ppm", "b/4.ppm", "b/5.ppm"]);
        write(&folder, "a/1a.png", b"");
        let all = load(&folder, LoadOptions::default()).unwrap();
        for memory in [0, 2, 3, 8, 14, 15] {
            let set = load(&folder, LoadOptions { memory, ..LoadOptions::default() }).unwrap();
            assert_eq!((numbers(&set), set.labels()), (numbers(&all), all.labels()));
        }
        let set = load(&folder, LoadOptions { memory: 6, ..LoadOptions::default() }).unwrap();
        fs::remove_file(folder.path().join("b/4.ppm")).unwrap();
        assert!(set.read(2, Key::new(0), &mut [0.0; 3]).is_ok());
        assert!(set.read(3, Key::new(0), &mut [0.0; 3]).unwrap_err().to_string().contains("4.ppm"));
    }

    #[test]
    fn progress_counts_every_file_once() {
        let folder = folder(&["a/1.ppm", "a/2.ppm", "b/3.ppm"]);
        let calls = AtomicUsize::new(0);
        let progress = |done, total| assert_eq!((done, total), (calls.fetch_add(1, Ordering::SeqCst) + 1, 3));
        load(&folder, LoadOptions { progress: Some(&progress), ..LoadOptions::default() }).unwrap();
        assert_eq!(calls.into_inner(), 3);
    }

    #[test]
    fn a_quick_try_takes_the_first_of_each_class() {
        let folder = folder(&["a/1.ppm", "a/2.ppm", "a/3.ppm", "b/4.ppm", "b/5.ppm"]);
        let few = ImageFolder::open(folder.path()).unwrap().take(2);
        assert_eq!(few.files().map(|(_, class)| class).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert!(few.clone().take(0).load(&Preprocessing::new(1, 1), &LoadOptions::default()).is_err());
    }

    #[test]
    fn the_layout_of_the_thesis() {
        let files = ["training_set/a/1.ppm", "training_set/b/2.ppm", "test_set/a/3.ppm", "test_set/b/4.ppm"];
        let folder = folder(&files);
        let (train, test) = ImageFolder::open_train_test(folder.path()).unwrap();
        assert_eq!((train.files().len(), test.unwrap().files().len()), (2, 2));
        assert!(ImageFolder::open_train_test(folder.path().join("test_set")).unwrap().1.is_none());
        write(&folder, "test_set/c/5.ppm", b"P3 1 1 255 1 2 3");
        assert!(ImageFolder::open_train_test(folder.path()).unwrap_err().to_string().contains("test_set"));
    }

    #[test]
    fn a_folder_that_cannot_serve_says_what_to_do() {
        let told = |files: &[&str], below: &str| {
            let folder = folder(files);
            ImageFolder::open(folder.path().join(below)).unwrap_err().to_string()
        };
        assert!(told(&[], "none").contains("none"));
        assert!(told(&["a.ppm"], "a.ppm").contains("a.ppm"));
        assert!(told(&["a.ppm"], "").ends_with("a subfolder of pictures for each class; found none"));
        assert!(told(&["a/1.ppm"], "").ends_with(r#"found only "a""#));
        assert!(
            told(&["a/1.ppm", "b/.2.ppm"], "")
                .ends_with("b: this class has no pictures; add some or move the folder away")
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_and_names_that_are_no_text() {
        use std::os::unix::ffi::OsStrExt;
        let folder = folder(&["a/1.ppm", "b/2.ppm"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/up")).unwrap();
        std::os::unix::fs::symlink("self", folder.path().join("a/self")).unwrap();
        std::os::unix::fs::symlink("nowhere.jpg", folder.path().join("b/broken.jpg")).unwrap();
        let name = folder.path().join("b").join(OsStr::from_bytes(b"\xFF\xFE 3.ppm"));
        fs::write(name, "P3 1 1 255 9 0 0").unwrap();
        let set = load(&folder, LoadOptions::default()).unwrap();
        assert_eq!((numbers(&set), set.labels()), (vec![0, 1, 9, 1, 9], vec![0, 0, 0, 1, 1]));
        assert!(set.skipped().iter().all(|skipped| skipped.path.ends_with("broken.jpg")));
    }
}
