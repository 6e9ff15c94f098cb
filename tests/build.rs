//! Compiles what the tests of containers need: the calls of a kubelet to a runtime, and the one program that their image holds.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program in the image. Static, because there is nothing else in the image.
const INMATE: &str = "src/containers/inmate.rs";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed={INMATE}");
    let descriptors = protox::compile(["proto/kubelet.proto"], ["."])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    inmate(&out.join("inmate"))
}

#[allow(clippy::disallowed_methods, reason = "a build script compiles; cargo has no static binary among dynamic ones")]
fn inmate(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut compiler = Command::new(std::env::var("RUSTC")?);
    compiler.args(["--edition", "2024", "--target", &std::env::var("TARGET")?]);
    compiler.args(["-C", "target-feature=+crt-static", "-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"]);
    let status = compiler.arg("-o").arg(out).arg(INMATE).status()?;
    if status.success() { Ok(()) } else { Err(format!("{INMATE} does not compile: {status}").into()) }
}
