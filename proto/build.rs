//! Compiles holdfast/v1/*.proto with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=holdfast");
    let descriptors = protox::compile(["holdfast/v1/session.proto"], ["."])?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallBuffers").compile_fds(descriptors)?;
    Ok(())
}
