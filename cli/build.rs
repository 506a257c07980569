//! Says which commit the binary was built from, where the sources lie in a repository.

use std::fs;
use std::path::Path;

fn main() {
    let git = Path::new("../.git");
    println!("cargo::rerun-if-changed=build.rs");
    let Ok(head) = fs::read_to_string(git.join("HEAD")) else { return };
    println!("cargo::rerun-if-changed=../.git/HEAD");
    let head = head.trim();
    let commit = match head.strip_prefix("ref: ") {
        // A reference that was packed has no file of its own, and nothing is said then.
        Some(name) => {
            let path = git.join(name);
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read_to_string(path).unwrap_or_default()
        }
        None => head.to_owned(),
    };
    let commit = commit.trim();
    if commit.len() >= 12 && commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        println!("cargo::rustc-env=LODE_COMMIT={}", &commit[..12]);
    }
}
