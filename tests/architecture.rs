//! The floors of the house: a file uses only what stands on floors below its own, or beside it.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. A module's floor is the row that names it.
const FLOORS: [&[&str]; 8] = [
    &["error", "device", "element", "shape", "random", "target", "files", "sealed", "threads", "simd"],
    &["kernels"],
    &["init", "layers", "data"],
    &["losses", "metrics", "optimizers", "plan"],
    &["model"],
    &["train"],
    &["bundle"],
    &["inspect"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: without its tests and without comments, whose examples may use everything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The top-level modules that a piece of code names as `crate::module` or `crate::{module, …}`.
fn used(code: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => items(list).into_iter().map(|item| name(item.trim())).collect(),
            None => vec![name(rest)],
        })
        .collect()
}

/// The items of a list up to the brace that closes it; a comma inside braces of its own parts nothing.
fn items(list: &str) -> Vec<&str> {
    let deeper = |c| i32::from(c == '{') - i32::from(c == '}');
    let mut depth = 1;
    let closes = |c| {
        depth += deeper(c);
        depth == 0
    };
    let end = list.find(closes).expect("every brace is closed");
    let mut depth = 0;
    let parts = |c| {
        depth += deeper(c);
        depth == 0 && c == ','
    };
    list[..end].split(parts).collect()
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string()
}

#[test]
fn every_module_has_a_floor() {
    for path in all_sources() {
        let module = module_of(&path);
        assert!(module == "lib" || floor(&module).is_some(), "{} stands on no floor", path.display());
    }
}

#[test]
fn nothing_uses_a_floor_above_its_own() {
    let mut checked = 0;
    for path in all_sources() {
        let Some(own) = floor(&module_of(&path)) else { continue };
        for module in used(&code(&path)) {
            if let Some(other) = floor(&module) {
                assert!(other <= own, "{} uses {module}, which stands above it", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "only {checked} imports were seen: the search is broken");
}

/// Vectors, and what runs on a GPU, are out of the compiler's sight.
#[test]
fn unsafe_code_stands_in_two_places() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in all_sources() {
        let here = code(&path).lines().any(|line| line.contains("unsafe ") || line.contains("unsafe{"));
        let allowed = ["simd", "kernels/cuda"].iter().any(|place| path.starts_with(source.join(place)));
        assert!(!here || allowed, "{} holds unsafe code", path.display());
    }
}

#[test]
fn the_search_sees_what_it_should() {
    assert_eq!(used("use crate::error::{Error, Result};\nuse crate::{data, train::Fit};"), ["error", "data", "train"]);
    assert_eq!(used("use crate::{error::{Error, Result}, train::Fit};"), ["error", "train"]);
    assert_eq!(
        used("use crate::{\n    error::{Error},\n    data::{self, augment::{FillMode}},\n    train\n};"),
        ["error", "data", "train"]
    );
    assert!(floor("kernels") > floor("error"));
}
