//! What system workloads are expected to fail, as a list to read or as JSON.

use holdfast_checks::waivers::Waiver;

use crate::cli::Output;

/// The list, in the order it is written in.
pub(super) fn render(waivers: &[Waiver], output: Output) -> Result<String, serde_json::Error> {
    if output == Output::Json {
        return Ok(serde_json::to_string_pretty(waivers)? + "\n");
    }
    let mut text = format!(
        "{} expectations: what system workloads are built to need. It is judged like everything else and marked in the report; it does not\n\
         count for --fail-on. `*` stands for anything but a `/`.\n",
        waivers.len()
    );
    for waiver in waivers {
        let list = |items: &[String]| items.join("\n           ");
        let (checks, subjects) = (list(&waiver.checks), list(&waiver.subjects));
        text.push_str(&["\n", &waiver.id, ": ", &waiver.reason, "\n  checks   ", &checks, "\n  subjects ", &subjects, "\n"].concat());
    }
    Ok(text)
}
