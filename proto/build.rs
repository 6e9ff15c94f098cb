//! Compiles holdfast/v1/*.proto and cri/runtime.proto with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=holdfast");
    println!("cargo:rerun-if-changed=cri");
    let descriptors = protox::compile(["holdfast/v1/session.proto", "holdfast/v1/enrolment.proto"], ["."])?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallBuffers").compile_fds(descriptors)?;
    let descriptors = protox::compile(["cri/runtime.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
